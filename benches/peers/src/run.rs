//! Many short rounds, in each of which every contender runs one small batch, in an order shuffled anew. What disturbs the
//! machine for a while then disturbs a few rounds of everybody's, and the medians stay.

use crate::contender::{Contender, Pipe, Row};
use crate::field::{handshakes, pipes};
use crate::meter::Meter;
use crate::records;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What a batch should take: long beside the clock's resolution, short beside what disturbs the machine.
const BATCH: Duration = Duration::from_millis(2);

/// Enough for quartiles to mean something.
const MIN_ROUNDS: usize = 5;

/// The middle of the rounds, and the quartiles around it.
#[derive(Clone, Copy, Debug)]
pub struct Quartiles {
    /// A quarter of the rounds was below.
    pub low: f64,
    /// Half of them were.
    pub median: f64,
    /// Three quarters were.
    pub high: f64,
}

/// One row of the table of handshakes.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// What it says beside the numbers.
    pub row: Row,
    /// The server's time, in µs.
    pub server: Quartiles,
    /// The client's time, in µs.
    pub client: Quartiles,
    /// The bytes that the client sends.
    pub to_server: usize,
    /// The bytes that the server sends.
    pub to_client: usize,
}

/// One row of the table of records.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose code seals, and how.
    pub name: String,
    /// The payload's size.
    pub size: usize,
    /// 10^9 bytes of payload per second, sealed and opened; each counted once.
    pub gb_per_s: Quartiles,
}

/// All that a run found.
#[derive(Clone, Debug)]
pub struct Results {
    /// The table of handshakes.
    pub handshakes: Vec<Handshake>,
    /// The table of records, by contender and then by size.
    pub records: Vec<Record>,
    /// How many rounds there were.
    pub rounds: usize,
}

/// Measures for about `budget`.
pub fn run(budget: Duration) -> Results {
    eprintln!("setting up");
    let mut series: Vec<Series> = handshakes().into_iter().map(Subject::Handshake).map(Series::new).collect();
    for size in records::SIZES {
        series.extend(pipes(size).into_iter().map(|pipe| Series::new(Subject::Pipe(pipe, size))));
    }
    // The same order of batches in every run.
    let mut rng = StdRng::seed_from_u64(1);
    let mut order: Vec<usize> = (0..series.len()).collect();
    let (start, mut rounds, mut reported) = (Instant::now(), 0, 0);
    while rounds < MIN_ROUNDS || start.elapsed() < budget {
        order.shuffle(&mut rng);
        for &index in &order {
            series[index].round();
        }
        rounds += 1;
        let seconds = start.elapsed().as_secs();
        if seconds >= reported + 5 {
            reported = seconds;
            eprintln!("{seconds} s of {}: {rounds} rounds", budget.as_secs());
        }
    }
    results(&series, rounds)
}

fn results(series: &[Series], rounds: usize) -> Results {
    let mut results = Results { handshakes: Vec::new(), records: Vec::new(), rounds };
    for series in series {
        match &series.subject {
            Subject::Handshake(contender) => results.handshakes.push(Handshake {
                row: contender.row(),
                server: quartiles(series.rounds.iter().map(|round| round.server * 1e6)),
                client: quartiles(series.rounds.iter().map(|round| round.client * 1e6)),
                to_server: series.first.to_server,
                to_client: series.first.to_client,
            }),
            Subject::Pipe(pipe, size) => {
                let gb = *size as f64 / 1e9;
                let gb_per_s = quartiles(series.rounds.iter().map(|round| gb / round.server));
                results.records.push(Record { name: pipe.name(), size: *size, gb_per_s });
            }
        }
    }
    results
}

/// What is measured.
enum Subject {
    Handshake(Box<dyn Contender>),
    Pipe(Box<dyn Pipe>, usize),
}

/// Seconds for one handshake, or (all at the server's) for one record.
#[derive(Clone, Copy)]
struct Round {
    server: f64,
    client: f64,
}

/// A contender and its rounds so far.
struct Series {
    subject: Subject,
    /// How many make a batch.
    batch: u32,
    /// An early handshake, for its bytes: the shortest of a few, as one in eight of our hellos has an extension that means nothing.
    first: Meter,
    rounds: Vec<Round>,
}

impl Series {
    /// Warms the contender up and finds out how many make a batch.
    fn new(mut subject: Subject) -> Self {
        let first = (0..8).map(|_| subject.batch(1)).min_by_key(|meter| meter.to_server + meter.to_client);
        let again = subject.batch(4);
        let each = ((again.server + again.client) / 4).max(Duration::from_nanos(100));
        let batch = u32::try_from(BATCH.as_nanos() / each.as_nanos()).unwrap_or(u32::MAX).max(1);
        Self { subject, batch, first: first.unwrap_or_default(), rounds: Vec::new() }
    }

    /// One batch, after a first one that finds the caches full of somebody else's and does not count.
    fn round(&mut self) {
        self.subject.batch(1);
        let meter = self.subject.batch(self.batch);
        let each = |time: Duration| time.as_secs_f64() / f64::from(self.batch);
        self.rounds.push(Round { server: each(meter.server), client: each(meter.client) });
    }
}

impl Subject {
    fn batch(&mut self, count: u32) -> Meter {
        let mut meter = Meter::default();
        match self {
            Self::Handshake(contender) => (0..count).for_each(|_| contender.once(&mut meter)),
            Self::Pipe(pipe, _) => meter.server(|| {
                for _ in 0..count {
                    black_box(pipe.pass());
                }
            }),
        }
        meter
    }
}

fn quartiles(values: impl Iterator<Item = f64>) -> Quartiles {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    Quartiles { low: at(1), median: at(2), high: at(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quartiles_are_in_order() {
        let all = quartiles([5.0, 1.0, 3.0, 2.0, 4.0].into_iter());
        assert_eq!([all.low, all.median, all.high], [2.0, 3.0, 4.0]);
    }
}
