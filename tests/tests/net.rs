//! `trace_net`, compared with both ends of the connections and with ss. Needs root, tracefs and ss.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use serde_json::Value;
use system_tests::{
    Ended, Kernel, Log, Manager, Plugins, Session, Summary, Workload, eventually, lock_out_sweeps, skip,
};

/// The time limit for asynchronous work of the kernel. A SYN is retransmitted after a second.
const SOON: Duration = Duration::from_secs(15);

fn kernel() -> Option<Kernel> {
    let kernel = Kernel::or_skip()?;
    if Command::new("ss").arg("-V").output().is_err() {
        skip("it needs ss (iproute2)");
        return None;
    }
    Some(kernel)
}

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

#[track_caller]
fn trace(manager: &Manager, log: &Log, arguments: &str) -> Session {
    let call = manager.call(["-v", "--run", "trace_net", "--args", &format!("--format json {arguments}")]);
    log.of(call).start()
}

/// The events of a session without losses.
struct Events(Vec<Value>);

impl Events {
    #[track_caller]
    fn of(ended: &Ended, log: &Log) -> Self {
        let lines = ended.succeeded();
        let events = lines.iter().map(|line| serde_json::from_str(line).expect("each line is an object"));
        let (recorded, delivered) = (lines.len(), lines.len());
        assert_eq!(log.summary(), Summary { recorded, delivered, ..Summary::default() });
        Self(events.collect())
    }

    fn named(&self, name: &str) -> Vec<&Value> {
        self.0.iter().filter(|event| event["event"] == name).collect()
    }

    /// Excludes drops without a socket: they happen in interrupts, and may be those of another test.
    fn of_sockets(self) -> Self {
        let is_of_none = |event: &Value| event["event"] == "drop" && event["socket"].is_null();
        Self(self.0.into_iter().filter(|event| !is_of_none(event)).collect())
    }

    /// Those of the sockets with this address.
    fn with_local(&self, local: &str) -> Self {
        let sockets: Vec<&Value> =
            self.0.iter().filter(|event| event["local"] == local).map(|event| &event["socket"]).collect();
        Self(self.0.iter().filter(|event| sockets.contains(&&event["socket"])).cloned().collect())
    }

    /// `CLOSE SYN_SENT ESTABLISHED`.
    #[track_caller]
    fn states(&self) -> String {
        let changes = self.named("state");
        for pair in changes.windows(2) {
            assert_eq!(pair[0]["new"], pair[1]["old"], "a change was not reported");
        }
        let first = changes.first().map(|change| &change["old"]);
        let states = first.into_iter().chain(changes.iter().map(|change| &change["new"]));
        states.map(|state| state.as_str().expect("a name")).collect::<Vec<_>>().join(" ")
    }

    fn sizes(&self, name: &str) -> Vec<u64> {
        self.named(name).iter().filter_map(|event| event["size"].as_u64()).collect()
    }

    #[track_caller]
    fn one(&self, name: &str) -> &Value {
        let [event] = self.named(name)[..] else { panic!("not one {name}: {:#?}", self.0) };
        event
    }
}

/// Echoes all data that arrives; returns the connection.
fn echo(listener: &TcpListener, sizes: &[usize]) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("a connection");
    for size in sizes {
        let mut bytes = vec![0; *size];
        stream.read_exact(&mut bytes).expect("what was sent");
        stream.write_all(&bytes).expect("the peer reads");
    }
    stream
}

/// The output of ss for one end of a connection: one line per socket.
fn ss(local: &str) -> String {
    let output = Command::new("ss").args(["-tainHO", "src", local]).output().expect("ss can be called");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The bytes sent and received, from ss.
fn bytes_by_ss(local: &str) -> (u64, u64) {
    let line = ss(local);
    let count = |name: &str| {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
        word.and_then(|word| word.strip_prefix(':')?.parse().ok()).unwrap_or_else(|| panic!("{name}? {line}"))
    };
    (count("bytes_sent"), count("bytes_received"))
}

/// Waits until the socket of one end of a connection has been destroyed.
#[track_caller]
fn is_over(local: &str) {
    let is_over = || ss(local).lines().all(|line| line.starts_with("TIME-WAIT")).then_some(());
    eventually("the connection is over", SOON, is_over);
}

/// Reads the remaining data, and closes.
fn ends(mut stream: TcpStream) {
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

#[track_caller]
fn done(answer: String) {
    assert_eq!(answer, "done");
}

#[test]
fn every_byte_of_a_connection_is_recorded() {
    let Some(_kernel) = kernel() else { return };
    for (host, family) in [("127.0.0.1:0", "AF_INET"), ("[::1]:0", "AF_INET6")] {
        let Ok(listener) = TcpListener::bind(host) else {
            skip("lo has no ::1");
            continue;
        };
        let server = listener.local_addr().unwrap().to_string();
        let (manager, log, workload) = (manager(), Log::new(), Workload::start());
        let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
        let sizes = [1, 1000, 60_000, 7];
        let (local, stream) = std::thread::scope(|scope| {
            let peer = scope.spawn(|| echo(&listener, &sizes));
            let local = workload.network(format!("connect {server}"));
            for size in sizes {
                done(workload.network(format!("send 0 {size}")));
                done(workload.network(format!("receive 0 {size}")));
            }
            (local, peer.join().expect("the echo"))
        });
        let by_ss = bytes_by_ss(&local);
        done(workload.network("close 0"));
        ends(stream);
        is_over(&local);
        let events = Events::of(&session.stop(), &log).of_sockets();
        assert_eq!(events.one("connect")["result"], 0);
        assert_eq!(events.one("connect")["local"], local, "it is reported with the call");
        let own = events.with_local(&local);
        assert_eq!(own.0.len(), events.0.len(), "there was only one socket: {:#?}", events.0);
        assert_eq!(own.states(), "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE");
        assert_eq!(own.sizes("send"), sizes.map(|size| size as u64));
        let total: u64 = own.sizes("receive").iter().sum();
        assert_eq!((own.sizes("send").iter().sum(), total), by_ss);
        assert_eq!(total, 61_008);
        for event in &own.0 {
            let words =
                ["family", "protocol", "remote", "comm"].map(|name| event[name].as_str().unwrap_or(""));
            assert_eq!(words, [family, "TCP", &server, "workload"], "{event}");
            assert_eq!((&event["pid"], &event["tid"]), (&workload.id().into(), &workload.id().into()));
        }
    }
}

#[test]
fn the_peers_actions_are_recorded() {
    let Some(_kernel) = kernel() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
    // The peer closes first.
    let first = workload.network(format!("connect {server}"));
    drop(listener.accept().unwrap());
    eventually("the end is noticed", SOON, || ss(&first).starts_with("CLOSE-WAIT").then_some(()));
    done(workload.network("close 0"));
    is_over(&first);
    // The peer closes with unread data, which resets the connection.
    let second = workload.network(format!("connect {server}"));
    let (stream, _) = listener.accept().unwrap();
    done(workload.network("send 1 10"));
    eventually("it has come", SOON, || (stream.peek(&mut [0; 10]).unwrap() == 10).then_some(()));
    drop(stream);
    is_over(&second);
    assert_eq!(workload.network("receive 1 1"), "ECONNRESET");
    // The traced side resets the connection.
    let third = workload.network(format!("connect {server}"));
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&[0; 10]).unwrap();
    eventually("it has come", SOON, || ss(&third).starts_with("ESTAB 10 ").then_some(()));
    done(workload.network("close 2"));
    is_over(&third);
    let events = Events::of(&session.stop(), &log);
    let (first, second, third) =
        (events.with_local(&first), events.with_local(&second), events.with_local(&third));
    assert_eq!(first.states(), "CLOSE SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE");
    assert_eq!(second.states(), "CLOSE SYN_SENT ESTABLISHED CLOSE");
    second.one("receive_reset");
    assert_eq!(second.one("receive")["error"], "ECONNRESET");
    assert_eq!(third.states(), "CLOSE SYN_SENT ESTABLISHED CLOSE");
    let reset = third.one("send_reset");
    assert!(reset["reason"].as_str().is_none_or(|reason| reason == "TCP_ABORT_ON_CLOSE"), "{reset}");
}

#[test]
fn a_socket_that_is_connected_again_has_its_new_port() {
    let Some(_kernel) = kernel() else { return };
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [one, other] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
    let first = workload.network(format!("connect {one}"));
    let second = workload.network(format!("reconnect 0 {other}"));
    assert_ne!(first, second);
    let events = session.stop().objects();
    let to_other = events.iter().filter(|event| event["remote"] == other.as_str());
    let locals: Vec<_> = to_other.filter_map(|event| event["local"].as_str()).collect();
    assert!(locals.contains(&second.as_str()), "{locals:?}");
    assert!(locals.iter().all(|local| [second.as_str(), "127.0.0.1:0"].contains(local)), "{locals:?}");
}

#[test]
fn a_refused_connection_has_its_reason() {
    let Some(_kernel) = kernel() else { return };
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
    assert_eq!(workload.network(format!("connect {unused}")), "ECONNREFUSED");
    let events = Events::of(&session.stop(), &log);
    let connect = events.one("connect");
    assert_eq!((&connect["result"], &connect["error"]), (&(-111).into(), &"ECONNREFUSED".into()));
    assert_eq!(connect["remote"], unused.to_string());
    assert!(connect["duration_ns"].as_u64().is_some_and(|duration| duration > 0));
    assert_eq!(events.states(), "CLOSE SYN_SENT CLOSE");
    let reset = events.one("receive_reset");
    assert_eq!(reset["socket"], connect["socket"]);
    // The local port, which the kernel chose during connect.
    assert_eq!((&reset["local"], &reset["remote"]), (&connect["local"], &connect["remote"]));
    assert!(!reset["local"].as_str().is_none_or(|local| local.ends_with(":0")), "{reset}");
    let reasons: Vec<&Value> = events.named("drop").iter().map(|drop| &drop["reason"]).collect();
    assert!(reasons.contains(&&"NO_SOCKET".into()), "{reasons:?}");
}

#[test]
fn a_nonblocking_connect_is_recorded_when_it_completes() {
    let Some(_kernel) = kernel() else { return };
    // The backlog has room for one connection.
    let (_listener, server) = listener_with_full_backlog();
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
    let locals = [0, 1, 2, 3].map(|_| workload.network(format!("begin {server}")));
    let is_sent_again = |local: &String| ss(local).contains("retrans:");
    eventually("a SYN is sent once more", SOON, || locals.iter().any(is_sent_again).then_some(()));
    let events = Events::of(&session.stop(), &log);
    let connects = events.named("connect");
    assert_eq!(connects.len(), 4);
    assert!(connects.iter().all(|connect| connect["error"] == "EINPROGRESS"), "{connects:#?}");
    let states = |local: &String| events.with_local(local).states();
    assert!(locals.iter().any(|local| states(local) == "CLOSE SYN_SENT ESTABLISHED"), "{:#?}", events.0);
    assert!(!events.named("retransmit").is_empty());
    for retransmit in events.named("retransmit") {
        let local = retransmit["local"].as_str().expect("an address");
        assert!(locals.iter().any(|chosen| chosen == local), "{retransmit}");
        assert_eq!(
            (&retransmit["state"], &retransmit["remote"]),
            (&"SYN_SENT".into(), &server.clone().into())
        );
    }
}

/// A listener with a backlog of one connection.
fn listener_with_full_backlog() -> (OwnedFd, String) {
    let made = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(made.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&made, Backlog::new(0).unwrap()).unwrap();
    let address = getsockname::<SockaddrIn>(made.as_raw_fd()).unwrap().to_string();
    (made, address)
}

#[test]
fn accepted_connections_of_old_and_new_listeners_are_recorded() {
    let Some(_kernel) = kernel() else { return };
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let old = workload.network("listen 0.0.0.0:0");
    let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
    let new = workload.network("listen 127.0.0.1:0");
    for (number, listener) in [(0, &old), (1, &new)] {
        let port = listener.rsplit_once(':').unwrap().1;
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        workload.network(format!("accept {number}"));
        stream.write_all(&[0; 77]).unwrap();
        done(workload.network(format!("receive {} 77", number + 2)));
        done(workload.network(format!("close {}", number + 2)));
        let local = format!("127.0.0.1:{port}");
        ends(stream);
        eventually("only the listener is left", SOON, || {
            ss(&local)
                .lines()
                .all(|line| line.starts_with("TIME-WAIT") || line.starts_with("LISTEN"))
                .then_some(())
        });
    }
    let events = Events::of(&session.stop(), &log);
    assert_eq!(events.named("accept").len(), 2);
    assert!(events.named("accept").iter().all(|accept| accept["result"].as_u64().is_some_and(|fd| fd > 2)));
    let listening = events.named("state").into_iter().find(|event| event["new"] == "LISTEN").expect("one");
    assert_eq!((&listening["local"], &listening["remote"]), (&new.clone().into(), &"0.0.0.0:0".into()));
    for listener in [&old, &new] {
        let port = listener.rsplit_once(':').unwrap().1;
        let local = format!("127.0.0.1:{port}");
        let accepted = events.0.iter().find(|event| event["local"] == local && event["new"] == "SYN_RECV");
        let socket = &accepted.expect("a connection came in")["socket"];
        let own = Events(events.0.iter().filter(|event| event["socket"] == *socket).cloned().collect());
        assert_eq!(own.states(), "LISTEN SYN_RECV ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE");
        assert_eq!(own.sizes("receive"), [77]);
        assert!(own.0.iter().all(|event| event["pid"] == workload.id()));
    }
}

#[test]
fn datagrams_have_their_sizes() {
    let Some(_kernel) = kernel() else { return };
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = peer.local_addr().unwrap();
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
    let own = workload.network("bind 127.0.0.1:0");
    for size in [0, 1, 1472, 9000] {
        done(workload.network(format!("send_to 0 {to} {size}")));
        peer.send_to(&vec![0; size + 5], &own).unwrap();
        assert_eq!(workload.network("receive_from 0"), (size + 5).to_string());
    }
    assert_eq!(workload.network(format!("send_to 0 {to} 65508")), "EMSGSIZE");
    let events = Events::of(&session.stop(), &log).of_sockets();
    assert_eq!(events.sizes("send"), [0, 1, 1472, 9000]);
    assert_eq!(events.sizes("receive"), [5, 6, 1477, 9005]);
    assert_eq!(events.named("send")[4]["error"], "EMSGSIZE");
    assert!(events.0.iter().all(|event| event["protocol"] == "UDP" && event["socket"] == 1));
}

#[test]
fn packets_dropped_at_a_full_socket_are_recorded() {
    let Some(_kernel) = kernel() else { return };
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--pid {}", workload.id()));
    workload.network("bind 127.0.0.1:0");
    let full = workload.network("bind 127.0.0.1:0");
    // A socket is assigned to its task when the task uses it.
    done(workload.network(format!("send_to 0 {full} 1")));
    assert_eq!(workload.network("receive_from 1"), "1");
    done(workload.network(format!("flood 0 {full} 1000")));
    let dropped = drops(&full);
    assert!(dropped > 0, "the socket holds a thousand datagrams");
    let events = Events::of(&session.stop(), &log);
    assert_eq!(events.sizes("send").len(), 1001);
    let socket = &events.named("receive")[0]["socket"];
    let drops = events.named("drop").into_iter().filter(|drop| drop["socket"] == *socket);
    let reasons: Vec<&Value> = drops.map(|drop| &drop["reason"]).collect();
    assert_eq!(reasons.len(), dropped, "what the kernel counts for the socket");
    assert!(reasons.iter().all(|reason| *reason == "SOCKET_RCVBUFF"), "{reasons:?}");
}

/// The kernel's count of datagrams that a socket has dropped.
fn drops(local: &str) -> usize {
    let port: u16 = local.rsplit_once(':').unwrap().1.parse().unwrap();
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!(":{port:04X}");
    let row = table.lines().find(|row| row.split_whitespace().nth(1).is_some_and(|at| at.ends_with(&local)));
    row.and_then(|row| row.split_whitespace().last()?.parse().ok()).expect("the socket's row")
}

#[test]
fn losses_are_counted() {
    let Some(_kernel) = kernel() else { return };
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--pid {} --buffer-size 8 --spool-size 1", workload.id()));
    let to = workload.network("bind 127.0.0.1:0");
    session.while_worker_is_stopped(|| done(workload.network(format!("flood 0 {to} 100000"))));
    let ended = session.stop();
    let (losses, lines): (Vec<Value>, Vec<Value>) = ended
        .succeeded()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("each line is an object"))
        .partition(|event| event["event"] == "lost");
    // A notice ahead of the backlog has no number.
    let lost: u64 = losses.iter().filter_map(|loss| loss["count"].as_u64()).sum();
    let summary = log.summary();
    assert!(lost > 0, "the buffer was too large for this test");
    assert_eq!(summary.lost.values().sum::<usize>() as u64, lost);
    assert_eq!((summary.delivered, summary.recorded), (lines.len(), lines.len() + lost as usize));
}

#[test]
fn a_killed_session_leaves_nothing() {
    let Some(kernel) = kernel() else { return };
    let _alone = lock_out_sweeps();
    let (manager, workload) = (manager(), Workload::start());
    let mut session = manager.run("trace_net", format!("--pid {}", workload.id())).start();
    let instances = kernel.instances_of(&[session.pid()]);
    assert_eq!(instances.len(), 2);
    session.process().signal_group(Signal::SIGKILL);
    let are_off = || instances.iter().all(|instance| !instance.is_on()).then_some(());
    eventually("both instances are off", SOON, are_off);
    drop(session);
    assert!(manager.call(["--clear"]).answer().status.success());
    assert!(!instances.iter().any(|instance| instance.exists()));
}

#[test]
fn other_tasks_are_not_recorded() {
    let Some(_kernel) = kernel() else { return };
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let child = workload.child();
    let (only, parent) = (workload.id(), workload.id());
    let sessions = [format!("--exact --pid {only}"), format!("--parent {parent}")];
    let logs = [log, Log::new()];
    let [exact, of_children] = [0, 1].map(|index| trace(&manager, &logs[index], &sessions[index]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    // Connections of this test, of the parent, and of the child.
    let ours = (TcpStream::connect(server).unwrap(), listener.accept().unwrap());
    let locals = [workload.network(format!("connect {server}")), child.network(format!("connect {server}"))];
    for (task, size) in [(&*workload, 11), (&child, 22)] {
        done(task.network(format!("send 0 {size}")));
        done(task.network("close 0"));
    }
    drop((ours, listener));
    locals.iter().for_each(|local| is_over(local));
    let events = [exact, of_children].into_iter().zip(&logs);
    let [exact, of_children] = events
        .map(|(session, log)| Events::of(&session.stop(), log))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| unreachable!("two sessions"));
    for (events, local, size, pid) in
        [(exact, &locals[0], 11, workload.id()), (of_children, &locals[1], 22, child.id())]
    {
        assert_eq!(events.sizes("send"), [size]);
        let events = events.of_sockets();
        assert_eq!(events.with_local(local).0.len(), events.0.len(), "{:#?}", events.0);
        assert!(events.0.iter().all(|event| event["pid"] == pid), "{:#?}", events.0);
    }
}

#[test]
fn without_calls_no_system_call_event_is_enabled() {
    let Some(kernel) = kernel() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let (manager, log, workload) = (manager(), Log::new(), Workload::start());
    let session = trace(&manager, &log, &format!("--without-calls --pid {}", workload.id()));
    let enabled = kernel.instances_of(&[session.pid()]).into_iter().map(|instance| instance.get("set_event"));
    let enabled: String = enabled.collect();
    assert!(enabled.contains("sock:sock_send_length") && !enabled.contains("syscalls:"), "{enabled}");
    let local = workload.network(format!("connect {server}"));
    let events = Events::of(&session.stop(), &log);
    assert_eq!(events.with_local(&local).states(), "CLOSE SYN_SENT ESTABLISHED");
    assert!(events.named("connect").is_empty());
}

#[test]
fn text_lines_are_readable() {
    let Some(_kernel) = kernel() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let (manager, workload) = (manager(), Workload::start());
    let session = manager.run("trace_net", format!("--pid {}", workload.id())).start();
    workload.is_called("a b-c");
    let local = workload.network(format!("connect {server}"));
    done(workload.network("send 0 5"));
    let ended = session.stop();
    let lines = ended.succeeded();
    let expected = format!("send: socket=1 family=AF_INET protocol=TCP local={local} remote={server} size=5");
    let line = lines.iter().find(|line| line.contains(" send: ")).expect("a line for the send");
    assert!(line.ends_with(&expected) && line.trim_start().starts_with("a b-c-"), "{line}");
    assert!(lines.iter().any(|line| line.ends_with("old=SYN_SENT new=ESTABLISHED")));
}
