//! Trace hooks on the kernel's perf events.

mod access;
mod counters;
mod cpus;
mod descriptors;
mod perf_event;
mod profile;
mod trace_counters;
mod trace_profile;
mod wide_events;

use trace_hook_api::export_plugin;

use trace_counters::TraceCounters;
use trace_profile::TraceProfile;

// The kernel removes perf events with their file descriptors, so there is nothing to clean up.
export_plugin!(TraceCounters, TraceProfile);
