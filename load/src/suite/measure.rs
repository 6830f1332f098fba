//! What was seen, and whether that is good enough.

use crate::suite::attacker::Begun;
use crate::suite::crowd::Visit;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What good clients saw.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) due: usize,
    pub(crate) good: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// How many were told that their credential is wrong.
    pub(crate) refused: usize,
    /// What became of the others.
    pub(crate) lost: BTreeMap<String, usize>,
}

impl Measured {
    /// Of the logins that were due while the server could serve anybody.
    pub(crate) fn of(visits: &[Visit], outages: &[(Instant, Instant)]) -> Self {
        let mut measured = Self::default();
        let mut times = Vec::new();
        for visit in visits {
            let counts = !outages.iter().any(|(from, until)| (*from..*until).contains(&visit.due));
            measured.due += usize::from(counts);
            match &visit.outcome {
                Ok(took) if counts => times.push(*took),
                // Nobody may be told that, whenever it is.
                Err(lost) if lost.is_refused => measured.refused += 1,
                Err(lost) if counts => *measured.lost.entry(lost.code.clone()).or_default() += 1,
                _ => {}
            }
        }
        times.sort_unstable();
        measured.good = times.len();
        [measured.p50, measured.p99] = [50, 99].map(|percent| percentile(&times, percent));
        measured
    }

    pub(crate) fn share(&self) -> f64 {
        if self.due == 0 { 0.0 } else { 100.0 * self.good as f64 / self.due as f64 }
    }
}

/// The smallest of the sorted times that so many percent of them do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The least share of good clients, in percent.
const SHARE: f64 = 99.0;

/// How much longer the slowest of a hundred may take than in the quiet run.
const RATIO: f64 = 3.0;

/// The same in a short run, in which that is one of thirty: on a machine that builds something else it may take long by itself.
const SHORT_RATIO: f64 = 10.0;

/// A quiet p99 below this counts as this: so much comes and goes on a machine where the attackers compute, too.
const FLOOR: Duration = Duration::from_millis(50);

/// A quiet p99 above this says that the machine is too slow, or does something else: beside it nothing would look slow.
const SLOW: Duration = Duration::from_secs(1);

pub(crate) fn ratio(measured: &Measured, quiet: &Measured) -> f64 {
    measured.p99.as_secs_f64() / quiet.p99.max(FLOOR).as_secs_f64()
}

/// An attack of which less than a fifth was begun is another one.
const ENOUGH: u64 = 5;

/// How much of it there was.
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    /// Each kind of it.
    pub(crate) arrived: Vec<u64>,
    pub(crate) begun: Option<Begun>,
}

/// What is wrong; nothing where all is well.
pub(crate) fn faults(measured: &Measured, quiet: &Measured, attack: &Attack, is_short: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if measured.due == 0 {
        faults.push("no login was due".to_owned());
    } else if measured.share() < SHARE {
        faults.push(format!("less than {SHARE} % got in"));
    }
    if measured.refused > 0 {
        faults.push(format!("{} were told that their password is wrong", measured.refused));
    }
    let most = if is_short { SHORT_RATIO } else { RATIO };
    if ratio(measured, quiet) > most {
        faults.push(format!("p99 over {most} times the quiet one"));
    }
    if quiet.share() < SHARE || quiet.p99 > SLOW {
        faults.push(format!(
            "with nobody else there {:.1} % got in, p99 {:?}: this machine can't tell",
            quiet.share(),
            quiet.p99
        ));
    }
    let arrived = &attack.arrived;
    match arrived.iter().position(|count| *count == 0) {
        Some(_) if arrived.len() == 1 => faults.push("nothing was attacked".to_owned()),
        Some(at) => faults.push(format!("of {} kinds of attack number {} never arrived", arrived.len(), at + 1)),
        None => {}
    }
    match attack.begun {
        // In a hurry the beginning, in which all come at once, is much of it.
        Some(Begun { count, due }) if !is_short && count < due / ENOUGH => {
            faults.push(format!("of {due} attempts that were due {count} were begun: this machine can't attack"));
        }
        _ => {}
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::crowd::Lost;

    fn visit(due: Instant, outcome: Result<u64, bool>) -> Visit {
        let lost = |is_refused| Lost { code: "busy".to_owned(), is_refused };
        Visit { due, outcome: outcome.map(Duration::from_millis).map_err(lost) }
    }

    fn attack(arrived: &[u64]) -> Attack {
        Attack { arrived: arrived.to_vec(), begun: None }
    }

    #[test]
    fn a_verdict_can_fail_for_each_of_its_reasons() {
        let now = Instant::now();
        let good = |millis| (0..100).map(move |_| visit(now, Ok(millis)));
        let quiet = Measured::of(&good(60).collect::<Vec<_>>(), &[]);
        let judge =
            |visits: Vec<Visit>, is_short| faults(&Measured::of(&visits, &[]), &quiet, &attack(&[1]), is_short).len();
        assert_eq!(judge(good(180).collect(), false), 0);
        assert_eq!((judge(good(181).collect(), false), judge(good(181).collect(), true)), (1, 0));
        assert_eq!(judge(good(601).collect(), true), 1);
        let with = |count, outcome| good(60).chain((0..count).map(move |_| visit(now, outcome))).collect::<Vec<_>>();
        assert_eq!((judge(with(1, Err(false)), true), judge(with(2, Err(false)), true)), (0, 1));
        assert_eq!(judge(with(1, Err(true)), true), 1);
        assert_eq!(judge(Vec::new(), true), 1);
        let attacked = |arrived: &[u64]| faults(&quiet, &quiet, &attack(arrived), false).len();
        assert_eq!((attacked(&[0]), attacked(&[7, 0, 9]), attacked(&[7, 1, 9])), (1, 1, 0));
        for machine in [good(1001).collect::<Vec<_>>(), with(2, Err(false))] {
            let busy = Measured::of(&machine, &[]);
            assert_eq!(faults(&quiet, &busy, &attack(&[1]), true).len(), 1);
        }
    }

    #[test]
    fn an_attack_of_which_a_small_part_was_begun_is_none() {
        let now = Instant::now();
        let quiet = Measured::of(&(0..100).map(|_| visit(now, Ok(60))).collect::<Vec<_>>(), &[]);
        let judge = |count, due, is_short| {
            let attack = Attack { begun: Some(Begun { count, due }), ..attack(&[1]) };
            faults(&quiet, &quiet, &attack, is_short).len()
        };
        assert_eq!([(200, 1000), (199, 1000), (0, 3)].map(|(count, due)| judge(count, due, false)), [0, 1, 0]);
        assert_eq!(judge(199, 1000, true), 0);
    }

    #[test]
    fn what_is_due_in_an_outage_counts_only_where_a_good_password_is_called_wrong() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let visits = [visit(now, Err(false)), visit(now, Ok(9)), visit(now, Err(true)), visit(later, Ok(1))];
        let measured = Measured::of(&visits, &[(now, now + Duration::from_secs(1))]);
        assert_eq!((measured.due, measured.good, measured.refused, measured.lost.len()), (1, 1, 1, 0));
        assert_eq!(measured.p99, Duration::from_millis(1));
    }
}
