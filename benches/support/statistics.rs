//! Differences of times, by tests that suppose no distribution.

use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;

/// Times each class once in each block, in an order of the block's own, so that whatever changes slowly (heat, other programs) is the same
/// for all. Gives microseconds: a row for each block, with one for each class.
pub(crate) fn in_blocks(
    blocks: u64,
    classes: usize,
    rng: &mut StdRng,
    mut time: impl FnMut(usize) -> Duration,
) -> Vec<Vec<f64>> {
    let mut rows = Vec::new();
    // The first blocks find cold caches.
    for block in 0..blocks + blocks / 20 {
        let mut order: Vec<usize> = (0..classes).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.random_range(0..=at));
        }
        let mut row = vec![0.0; classes];
        for class in order {
            row[class] = time(class).as_secs_f64() * 1e6;
        }
        if block >= blocks / 20 {
            rows.push(row);
        }
    }
    rows
}

/// Which columns these classes have, among all of them; `None` where one has none.
#[allow(dead_code, reason = "for the bench that compares some of its classes alone")]
pub(crate) fn columns(classes: &[&str], all: &[&str]) -> Option<Vec<usize>> {
    classes.iter().map(|class| all.iter().position(|one| one == class)).collect()
}

/// These columns alone.
#[allow(dead_code, reason = "for the bench that compares some of its classes alone")]
pub(crate) fn only(columns: &[usize], rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    rows.iter().map(|row| columns.iter().map(|column| row[*column]).collect()).collect()
}

/// Prints what sets the classes apart from the first, in microseconds. The last may be a control, which has to be found: gives whether it was, or
/// there is none.
pub(crate) fn report(classes: &[&str], rows: &[Vec<f64>], has_control: bool) -> bool {
    let reference: Vec<f64> = rows.iter().map(|row| row[0]).collect();
    println!("  {:<40} median {:>8.1} us", classes[0], quantile(reference, 0.5));
    for (class, name) in classes.iter().enumerate().skip(1) {
        let differences: Vec<f64> = rows.iter().map(|row| row[class] - row[0]).collect();
        let (low, high) = interval(differences.len());
        println!(
            "  {name:<40} {:>+8.2} us, 95 % within {:+.2} and {:+.2}; sign test p = {:.2e}",
            quantile(differences.clone(), 0.5),
            quantile(differences.clone(), low),
            quantile(differences.clone(), high),
            sign_test(&differences)
        );
    }
    if !has_control {
        println!("  Friedman: p = {:.2e}", friedman(rows));
        return true;
    }
    let without_control: Vec<Vec<f64>> = rows.iter().map(|row| row[..row.len() - 1].to_vec()).collect();
    println!("  Friedman: p = {:.2e} without the control, {:.2e} with it", friedman(&without_control), friedman(rows));
    let is_found = is_found(rows);
    if !is_found {
        println!("  The control was NOT found: what is not larger than it would not be, either.");
    }
    is_found
}

/// Whether the last class takes longer than the first, to a certainty that chance comes to once in a thousand runs.
pub(crate) fn is_found(rows: &[Vec<f64>]) -> bool {
    let differences: Vec<f64> = rows.iter().map(|row| row[row.len() - 1] - row[0]).collect();
    quantile(differences.clone(), 0.5) > 0.0 && sign_test(&differences) < 0.001
}

/// Sees a difference where there is one, and none where there is none, by columns that are made up.
#[allow(dead_code, reason = "for the bench that the gate runs once")]
pub(crate) fn check() {
    assert_eq!(columns(&["b", "a"], &["a", "b"]), Some(vec![1, 0]));
    assert_eq!(columns(&["b", "c"], &["a", "b"]), None);
    assert_eq!(only(&[2, 0], &[vec![1.0, 2.0, 3.0]]), [[3.0, 1.0]]);
    // The difference is 1 where the last takes longer, and -1 where it does not.
    let rows =
        |longer: u32| (0..100).map(|row| vec![9.0, 5.0, if row < longer { 10.0 } else { 8.0 }]).collect::<Vec<_>>();
    assert!(is_found(&rows(100)) && is_found(&rows(70)));
    assert!(!is_found(&rows(60)) && !is_found(&rows(50)) && !is_found(&rows(0)));
}

fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// Which order statistics hold the median in 95 of 100 samples of this size, as parts of it.
fn interval(len: usize) -> (f64, f64) {
    let half = 1.96 / 2.0 / (len as f64).sqrt();
    ((0.5 - half).max(0.0), (0.5 + half).min(1.0))
}

/// How probable it is that so many differences or more have one sign, if both are alike.
fn sign_test(differences: &[f64]) -> f64 {
    let (above, below) = differences.iter().fold((0.0, 0.0), |(above, below), difference| {
        (above + f64::from(u8::from(*difference > 0.0)), below + f64::from(u8::from(*difference < 0.0)))
    });
    let z =
        ((f64::max(above, below) - f64::min(above, below) - 1.0) / f64::sqrt(f64::max(above + below, 1.0))).max(0.0);
    (2.0 * upper_tail(z)).min(1.0)
}

/// Friedman's test: how probable ranks as uneven as these are, if the classes are alike. The chi-squared by Wilson and Hilferty's
/// cube root.
fn friedman(rows: &[Vec<f64>]) -> f64 {
    let (n, k) = (rows.len() as f64, rows[0].len() as f64);
    let mut sums = vec![0.0; rows[0].len()];
    for row in rows {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*a].total_cmp(&row[*b]));
        for (rank, class) in (1..).zip(order) {
            sums[class] += f64::from(rank);
        }
    }
    let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
    let chi = 12.0 / (n * k * (k + 1.0)) * squares - 3.0 * n * (k + 1.0);
    let spread = 2.0 / (9.0 * (k - 1.0));
    upper_tail(((chi.max(0.0) / (k - 1.0)).cbrt() - (1.0 - spread)) / spread.sqrt())
}

/// Of the normal distribution (Abramowitz and Stegun 26.2.17; beyond six, its leading term).
fn upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - upper_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z > 6.0 {
        return density / z;
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    density
        * t
        * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))))
}
