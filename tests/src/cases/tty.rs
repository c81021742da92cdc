//! Jobs at a terminal.

use anyhow::{Context, ensure};
use rustix::process::Signal;

use super::case::cases;
use super::jobs::removed;
use crate::bench::Bench;
use crate::check::Checked;
use crate::terminal::Terminal;

cases! { "tty":
    this_terminal_is_the_jobs_until_its_end,
    the_keys_to_detach_leave_the_job_and_attach_returns_to_it,
}

fn this_terminal_is_the_jobs_until_its_end(bench: &Bench) -> Checked {
    let terminal = Terminal::new(97, 31)?;
    let script = "until [ \"$(stty size 2>/dev/null)\" = '31 97' ]; do sleep 0.05; done; \
                  printf 'name? '; read -r name; echo \"it is $name\"; \
                  until [ \"$(stty size)\" = '40 100' ]; do sleep 0.05; done; exit 7";
    let running = bench.script(&["-it"], script)?.spawn_at(&terminal)?;
    running.until_stdout("name? ")?;
    terminal.until_raw()?;
    terminal.types("joe\r")?;
    running.until_stdout("it is joe\r\n")?;
    terminal.resize(100, 40)?;
    running.signal(Signal::WINCH)?;
    let ran = running.finish()?;
    ran.exits(7)?;
    ensure!(!terminal.is_raw()?, "the terminal stays raw");
    Ok(())
}

fn the_keys_to_detach_leave_the_job_and_attach_returns_to_it(bench: &Bench) -> Checked {
    let terminal = Terminal::new(80, 24)?;
    let script = "echo one; read -r name; echo \"it is $name\"; exit 7";
    let run = bench.longshore()?.args(["run", "-it"]).args(bench.way()?);
    let running = run.args(["--", "sh", "-c", script]).spawn_at(&terminal)?;
    running.until_stdout("one\r\n")?;
    terminal.until_raw()?;
    terminal.types("\u{10}\u{11}")?;
    let ran = running.finish()?;
    ran.exits(0)?;
    ensure!(!terminal.is_raw()?, "the terminal stays raw");
    let id = ran.text().lines().last().context("it prints no ID")?.to_owned();
    let attached = bench.longshore()?.args(["attach", &id]).spawn_at(&terminal)?;
    terminal.until_raw()?;
    terminal.types("joe\r")?;
    let ran = attached.finish()?;
    ran.exits(7)?;
    ensure!(ran.text().contains("it is joe\r\n"), "it shows {:?}", ran.text());
    ensure!(!ran.text().contains("one"), "output from before: {:?}", ran.text());
    removed(bench, &id)
}
