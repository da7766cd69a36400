//! Gets into whatever trouble it is told to: with `--when start --failure panic` while it runs, and before that, when
//! nobody gives it arguments yet, with `FAIL="info panic"` in its environment.

use trace_hook_api::{
    Environment, Hook, HookError, HookInfo, LineBuffer, Param, Progress, Request, Result, Session,
    export_plugin,
};

struct FailingLines;

impl Hook for FailingLines {
    fn info(&self) -> HookInfo {
        // There is no way to say that this failed.
        let _ = Failure::from_environment().strike("info");
        HookInfo::new("failing_lines", "Gets into trouble, for tests")
            .param(Param::text("trouble", "KIND", "what goes wrong").choices(KINDS).default("fail"))
            .param(Param::text("when", "CALL", "where it goes wrong").choices(CALLS).required())
    }

    fn probe(&self, _: &Environment) -> Result<()> {
        Failure::from_environment().strike("probe")
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let text =
            |name| -> Result<String> { Ok(request.arguments.text(name)?.unwrap_or_default().to_owned()) };
        let trouble = Failure { kind: text("trouble")?, when: text("when")?, over: text("when")? != "stop" };
        trouble.strike("start")?;
        Ok(Box::new(trouble))
    }
}

const KINDS: [&str; 7] = ["fail", "refuse", "panic", "abort", "exit", "hang", "chatter"];
const CALLS: [&str; 4] = ["start", "read", "stop", "close"];

struct Failure {
    kind: String,
    when: String,
    over: bool,
}

impl Failure {
    fn from_environment() -> Self {
        let trouble = std::env::var("FAIL").unwrap_or_default();
        let (when, kind) = trouble.split_once(' ').unwrap_or_default();
        Self { kind: kind.to_owned(), when: when.to_owned(), over: false }
    }

    /// Gets into trouble, if this is the call for it.
    fn strike(&self, call: &str) -> Result<()> {
        if self.when != call {
            return Ok(());
        }
        match self.kind.as_str() {
            "fail" => Err(HookError::new("nothing works today")),
            "refuse" => Err(HookError::usage("ask for something else")),
            "panic" => panic!("no way out"),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            "hang" => hang(),
            _ => {
                println!("plugins do not speak to the caller");
                eprintln!("in no way");
                Ok(())
            }
        }
    }
}

/// Waits for ever, and can be seen to: one of the threads is called `hung`.
fn hang() -> Result<()> {
    let hung = std::thread::Builder::new().name("hung".to_owned()).spawn(|| {
        loop {
            std::thread::park();
        }
    });
    hung?.join().map_err(|_| HookError::new("it was not to end"))
}

impl Session for Failure {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        if self.when == "read" {
            lines.push("before the trouble");
        }
        self.strike("read")?;
        if self.over {
            lines.push("after the trouble");
        }
        Ok(if self.over { Progress::Finished } else { Progress::Idle })
    }

    fn stop(&mut self) -> Result<()> {
        self.over = true;
        self.strike("stop")
    }

    fn close(&mut self) -> Result<()> {
        self.strike("close")
    }
}

export_plugin!(FailingLines);
