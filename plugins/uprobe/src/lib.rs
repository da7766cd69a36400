//! Trace hooks on functions of the traced programs.

mod trace_user;

use trace_hook_api::export_plugin;
use tracefs_session::TracefsCleanup;

use trace_user::TraceUser;

export_plugin!(TraceUser; cleanup = TracefsCleanup);
