//! Events and their filters, on the kernel's tracefs.

mod kernel;

use kernel::read;
use tracefs::Error;

#[test]
fn events_of_the_kernel_are_found() {
    let sweeper = need_tracefs!();
    let tracefs = &sweeper.tracefs;
    assert!(tracefs.has_event("sched", "sched_switch"));
    for (system, event) in
        [("sched", "no_such"), ("no_such", "x"), ("sched", ""), ("", ""), ("..", "events"), ("sched", "..")]
    {
        assert!(!tracefs.has_event(system, event), "{system}:{event}");
    }
    assert!(tracefs.systems().expect("systems").contains(&"sched".to_owned()));
    assert!(tracefs.events("sched").expect("events").contains(&"sched_switch".to_owned()));
    for system in ["no_such", "", "..", "enable", "sched/sched_switch"] {
        assert!(matches!(tracefs.events(system), Err(Error::UnknownSystem { .. })), "{system}");
    }
}

#[test]
fn unknown_events_are_reported() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    for (system, event) in [("sched", "no_such"), ("no_such", "x"), ("..", "x"), ("sched", "../sched_switch")]
    {
        let refused = instance.enable_event(system, event);
        assert!(matches!(refused, Err(Error::UnknownEvent { .. })), "{refused:?}");
        let refused = instance.set_filter(system, Some(event), "pid == 1");
        assert!(matches!(refused, Err(Error::UnknownEvent { .. })), "{refused:?}");
    }
    let refused = instance.enable_system("no_such");
    assert!(matches!(refused, Err(Error::UnknownSystem { .. })), "{refused:?}");
}

#[test]
fn all_events_of_a_system_are_enabled() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    instance.enable_system("task").expect("events");
    assert_eq!(read(instance.path().join("events/task/enable")), "1\n");
}

#[test]
fn bad_filter_is_reported_with_the_kernels_explanation() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let refused =
        instance.set_filter("sched", Some("sched_switch"), "no_such_field == 1").expect_err("refused");
    let Error::BadFilter { target, expression, reason } = &refused else { panic!("{refused:?}") };
    assert_eq!((target.as_str(), expression.as_str()), ("sched:sched_switch", "no_such_field == 1"));
    assert!(
        reason.contains("Field not found") && reason.contains("no_such_field") && reason.contains('^'),
        "{reason}"
    );
}

/// For some syntax errors the kernel returns an errno that usually means a missing file or permission.
#[test]
fn every_errno_of_a_bad_filter_is_recognized() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    for (expression, message) in [
        ("prev_pid == 1)", "Too few '('"),
        ("((((", "Too many '('"),
        ("(prev_pid == 1", "Too many '('"),
        ("prev_comm ~ \"*", "Missing matching quote"),
        ("prev_pid == 1 &", "Too many terms in predicate expression"),
        ("prev_pid == 1 &&& 2", "parse error"),
        ("&&", "parse error"),
        ("#x", "parse error"),
    ] {
        let refused = instance.set_filter("sched", Some("sched_switch"), expression).expect_err("refused");
        let Error::BadFilter { reason, .. } = &refused else { panic!("{expression}: {refused:?}") };
        let has_all =
            [message, &format!("Command: {expression}\n"), "^"].iter().all(|part| reason.contains(part));
        assert!(has_all, "{expression}: {reason}");
    }
}

#[test]
fn system_filter_must_apply_to_at_least_one_event() {
    let sweeper = need_tracefs!();
    let instance = sweeper.create("a");
    let refused = instance.set_filter("task", None, "no_such_field == 1");
    assert!(matches!(refused, Err(Error::BadFilter { .. })), "{refused:?}");
    let refused = instance.set_filter("no_such", None, "pid == 1");
    assert!(matches!(refused, Err(Error::UnknownSystem { .. })), "{refused:?}");
    instance.set_filter("task", None, "clone_flags == 1").expect("a filter for task_newtask");
    let filter = || read(instance.path().join("events/task/task_newtask/filter"));
    assert_eq!(filter(), "clone_flags == 1\n");
    instance.set_filter("task", None, "0").expect("no filter");
    assert_eq!(filter(), "none\n");
}
