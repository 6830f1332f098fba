//! One scenario after the other, each beside the quiet run of a server like its own.

use crate::suite::Failure;
use crate::suite::crowd::{Crowd, Habit};
use crate::suite::measure::{Attack, Measured, faults, ratio};
use crate::suite::record::{self, Row};
use crate::suite::scenarios::{ALL, Scenario};
use crate::suite::server::{Plan, faketime};
use crate::suite::stage::{People, Stage};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long, and how strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    is_quick: bool,
    without_limits: bool,
    lead: Duration,
    time: Duration,
}

impl Mode {
    pub(crate) fn new(is_quick: bool, without_limits: bool) -> Self {
        let [lead, time] = if is_quick { [300, 1500] } else { [2000, 10_000] }.map(Duration::from_millis);
        Self { is_quick, without_limits, lead, time }
    }

    /// With its full time, and judged as strictly as that allows.
    fn at_full_length(self) -> Self {
        Self::new(false, self.without_limits)
    }
}

/// Runs these scenarios, or all. Gives whether all went well.
pub(crate) fn run(names: &[String], mode: Mode, record: Option<&Path>) -> Result<bool, Failure> {
    for name in names {
        if !ALL.iter().any(|scenario| scenario.name == name) {
            return Err(format!("there is no scenario {name:?}; `load --list` says what there is").into());
        }
    }
    let wanted: Vec<_> = ALL.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name)).collect();
    crate::suite::serve::limit_files(None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut suite = Suite { people: People::new()?, mode, quiet: Vec::new() };
        let (mut rows, start) = (Vec::new(), Instant::now());
        println!("{}", record::heading());
        for scenario in wanted {
            if scenario.plan.has_clock && faketime().is_none() {
                // As the tests do: what may be left out, where not everything may be.
                let may_be = std::env::var("COUNTERSIGN_MAY_LEAVE_OUT");
                if may_be.is_ok_and(|may_be| may_be.split(',').all(|one| one != "faketime")) {
                    return Err(format!("{} may not be left out: libfaketime is not installed", scenario.name).into());
                }
                println!("{:<20} left out: libfaketime is not installed (Debian: faketime)", scenario.name);
                continue;
            }
            let row = suite.judge(scenario).await?;
            println!("{row}");
            rows.push(row);
        }
        println!("{} scenarios in {} s", rows.len(), start.elapsed().as_secs());
        if let Some(path) = record {
            record::write(path, &rows)?;
        }
        Ok(rows.iter().all(|row| row.faults.is_empty()))
    })
}

struct Suite {
    people: People,
    mode: Mode,
    /// Of each kind of server and of clients, in a hurry or not, what they saw with nobody else there.
    quiet: Vec<((bool, Plan, Habit), Arc<Measured>)>,
}

impl Suite {
    async fn judge(&mut self, scenario: &'static Scenario) -> Result<Row, Failure> {
        let mut mode = self.mode;
        if scenario.has_outages {
            mode.time = mode.time.max(Duration::from_secs(6));
        }
        let row = self.judge_in(scenario, mode).await?;
        if row.faults.is_empty() || !mode.is_quick || mode.without_limits {
            return Ok(row);
        }
        // Of thirty logins one is more than a hundredth, and a machine that builds something else loses one. What fails in a hurry is given
        // its time, and that is what counts; once more, where the machine did something else then, too.
        eprintln!("{row}\n  again, at its full length:");
        let row = self.judge_in(scenario, mode.at_full_length()).await?;
        if row.faults.is_empty() {
            return Ok(row);
        }
        eprintln!("{row}\n  and once more:");
        self.judge_in(scenario, mode.at_full_length()).await
    }

    async fn judge_in(&mut self, scenario: &'static Scenario, mode: Mode) -> Result<Row, Failure> {
        // In a hurry one is enough: only what takes very much longer is told from it.
        let of = if mode.is_quick { ALL.first().unwrap_or(scenario) } else { scenario };
        let kind = (mode.is_quick, of.plan, of.habit);
        let known = self.quiet.iter().find(|(of, _)| *of == kind).map(|(_, quiet)| Arc::clone(quiet));
        let quiet = match known {
            Some(quiet) => quiet,
            None => {
                let (quiet, ..) = self.measure(of, false, mode).await?;
                let quiet = Arc::new(quiet);
                self.quiet.push((kind, Arc::clone(&quiet)));
                quiet
            }
        };
        let (measured, attack, leak) = self.measure(scenario, true, mode).await?;
        let mut faults = faults(&measured, &quiet, &attack, mode.is_quick);
        faults.extend(leak);
        let ratio = ratio(&measured, &quiet);
        Ok(Row { scenario, measured, quiet, attack, ratio, faults })
    }

    /// What good clients see, with whoever attacks or nobody, how much of the attack there was, and what was not given back.
    async fn measure(
        &self,
        scenario: &Scenario,
        with_attack: bool,
        mode: Mode,
    ) -> Result<(Measured, Attack, Option<String>), Failure> {
        let stage = Arc::new(Stage::set_up(scenario.plan, &self.people, mode.without_limits).await?);
        if with_attack && scenario.plan.is_weak {
            // Before anybody's hash is renewed.
            stage.tell("disk full").await?;
        }
        let crowd = Crowd::new(stage.attacker.known(), scenario.habit, scenario.plan.puzzles);
        let address = stage.attacker.server;
        crowd.come_first(address).await.map_err(|code| format!("{}: a first login failed: {code}", scenario.name))?;
        let acting = async { if with_attack { (scenario.act)(Arc::clone(&stage)).await } else { Ok(()) } };
        let coming = async {
            // The attack is in full swing by then.
            sleep(mode.lead).await;
            let visits = crowd.keep_coming(address, mode.time, self.people.pace.logins()).await;
            stage.attacker.end();
            Ok::<_, Failure>(visits)
        };
        let (visits, ()) = tokio::try_join!(coming, acting)?;
        let measured = Measured::of(&visits, &stage.outages());
        let leak = if mode.without_limits { None } else { given_back(&stage).await? };
        let attack = Attack { arrived: stage.attacker.arrived(), begun: stage.attacker.begun() };
        Ok((measured, attack, leak))
    }
}

/// Whether everybody's place is given back once all are gone; otherwise what is left.
async fn given_back(stage: &Stage) -> Result<Option<String>, Failure> {
    let mut server = stage.server.lock().await;
    let start = Instant::now();
    loop {
        let (held, counts) = server.counts().await?;
        if held == 0 {
            return Ok(None);
        }
        if start.elapsed() > Duration::from_secs(15) {
            return Ok(Some(format!("{held} places were not given back: {counts}")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_in_a_hurry_is_judged_as_in_a_run_without_one() {
        assert_eq!(Mode::new(true, false).at_full_length(), Mode::new(false, false));
    }
}
