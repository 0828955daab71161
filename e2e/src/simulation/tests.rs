//! What must hold of every algorithm, and what Thaw promises of its own.

use std::{collections::HashSet, time::Duration};

use super::*;
use arrivals::{Function, Request};

const PER_REQUEST: Algorithm = Algorithm::Thaw(Burst::PerRequest);
const DRAIN: Algorithm = Algorithm::Thaw(Burst::Drain);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn knative() -> Algorithm {
    Algorithm::Knative(knative::Settings::default())
}

/// One function that is asked this, whose boots take about 300 ms.
fn asked(requests: impl IntoIterator<Item = (Duration, Duration)>) -> Pattern {
    let requests = requests.into_iter().map(|(at, work)| Request { at, work });
    Pattern {
        name: "asked".to_owned(),
        functions: vec![Function {
            requests: requests.collect(),
            boot: ms(300),
            seed: 1,
        }],
        measured_from: Duration::ZERO,
        shown: Duration::ZERO..seconds(60),
    }
}

/// Every pattern, short.
fn short(seed: u64) -> Vec<Pattern> {
    let mut trace = trace::generate(seed);
    for row in &mut trace {
        row.counts.truncate(20);
    }
    patterns::all(seed, &trace, 0.02)
}

#[test]
fn n_at_once_from_zero_boot_exactly_n_with_per_request() {
    for n in [1, 2, 10, 137, 1000] {
        let outcome = PER_REQUEST.play(&patterns::burst(n, ms(200), 1));
        assert_eq!(outcome.boots, n as u64);
        assert_eq!(outcome.shortfall, n as u32);
    }
}

#[test]
fn drain_boots_far_fewer_for_short_work_and_waits_hardly_longer() {
    for seed in 1..=5 {
        let burst = patterns::burst(1000, ms(5), seed);
        let (each, few) = (PER_REQUEST.play(&burst), DRAIN.play(&burst));
        assert_eq!(each.boots, 1000);
        assert!(few.boots * 5 <= each.boots, "{} boots", few.boots);
        let (fastest, wait) = (each.wait(0.99), few.wait(0.99));
        assert!(
            wait <= fastest.mul_f64(1.2),
            "{wait:?} against {fastest:?} with seed {seed}"
        );
    }
}

#[test]
fn every_algorithm_serves_every_request_once_and_ends_at_zero() {
    for pattern in short(1) {
        for algorithm in Algorithm::compared(knative::Settings::default()) {
            let outcome = algorithm.play(&pattern);
            let all = pattern.functions.iter().flat_map(|f| &f.requests);
            let counted: Vec<_> = all.filter(|r| r.at >= pattern.measured_from).collect();
            let what = format!("{algorithm} on {}", pattern.name);
            assert_eq!(outcome.served(), counted.len(), "{what}");
            let work: Duration = counted.iter().map(|request| request.work).sum();
            assert_eq!(outcome.work, work, "{what}");
            assert!(outcome.paid >= work, "{what}");
            let ends = outcome.changes.iter();
            let left = ends.fold((0, 0), |(demand, instances), change| {
                (demand + change.demand, instances + change.instances)
            });
            assert_eq!(left, (0, 0), "{what}");
        }
    }
}

#[test]
fn the_table_has_every_pattern_with_every_algorithm() {
    let algorithms = Algorithm::compared(knative::Settings::default());
    let play = |pattern: Pattern| {
        let outcomes = algorithms.map(|algorithm| (algorithm, algorithm.play(&pattern)));
        (pattern, outcomes.to_vec())
    };
    let plays: Vec<_> = short(1).into_iter().map(play).collect();
    let table = table::table(&plays);
    for (pattern, _) in &plays {
        for algorithm in algorithms {
            let row = |line: &&str| {
                line.contains(&pattern.name) && line.contains(&format!("| {algorithm} "))
            };
            assert_eq!(table.lines().filter(row).count(), 1, "{table}");
        }
    }
    let widths: HashSet<_> = table.lines().map(|line| line.chars().count()).collect();
    assert_eq!(widths.len(), 1, "{table}");
}

#[test]
fn a_seed_decides_everything() {
    let outcomes = |seed| {
        let play = |pattern: Pattern| {
            Algorithm::compared(knative::Settings::default()).map(|a| a.play(&pattern))
        };
        short(seed).into_iter().map(play).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(1), outcomes(1));
    assert_ne!(outcomes(1), outcomes(2));
}

#[test]
fn thaw_pays_for_the_boot_the_work_and_the_idle_window() {
    let pattern = asked([(seconds(1), ms(200))]);
    let outcome = PER_REQUEST.play(&pattern);
    let boot = pattern.functions[0].nth_boot(0);
    assert_eq!(outcome.wait(1.0), cluster::WRITE + boot);
    // Of the idle window's end two writes are left: the deletion cost, then `replicas`.
    let idle = seconds(60) + 2 * cluster::WRITE;
    assert_eq!(outcome.paid, boot + ms(200) + idle);
}

#[test]
fn knative_starts_one_for_one_request_from_zero() {
    let outcome = knative().play(&asked([(seconds(1), ms(200))]));
    assert_eq!(outcome.boots, 1);
}

#[test]
fn knative_meets_a_burst_at_its_first_tick_that_sees_it() {
    // 14 that work for long: at a tick within 2 s, 14 / 0.7 = 20 are wanted, one of which is there.
    let outcome = knative().play(&asked([(ms(1), seconds(30)); 14]));
    assert_eq!(outcome.boots, 20);
    let second_boots = outcome.wait(1.0);
    assert!(second_boots > ms(300), "{second_boots:?}");
    assert!(second_boots < seconds(4) + ms(350), "{second_boots:?}");
}

#[test]
fn knative_keeps_the_last_instance_for_a_stable_window_and_the_grace() {
    let last = |grace| {
        let algorithm = Algorithm::Knative(knative::Settings { grace });
        let outcome = algorithm.play(&asked([(seconds(1), ms(200))]));
        outcome.changes.last().expect("it went").at
    };
    // The request ends within the second that begins at 1 s. That one leaves the window at 62 s, and a tick comes within 2 s.
    let gone = last(Duration::ZERO);
    assert!(
        (seconds(62)..=seconds(64) + ms(10)).contains(&gone),
        "{gone:?}"
    );
    assert_eq!(last(seconds(30)), gone + seconds(30));
}

#[test]
fn a_trace_is_read_as_it_was_written() {
    let rows = trace::generate(7);
    let mut file = vec![];
    trace::write(&rows, &mut file).unwrap();
    assert_eq!(trace::read(file.as_slice()).unwrap(), rows);
    let text = String::from_utf8(file).unwrap();
    assert!(text.starts_with("HashOwner,HashApp,HashFunction,Trigger,1,2,3,"));
    let other = text.replacen("HashApp", "App", 1);
    assert!(trace::read(other.as_bytes()).is_err());
    let negative = text.replacen(",0,", ",-1,", 1);
    assert!(trace::read(negative.as_bytes()).is_err());
}

#[test]
fn requests_of_a_trace_fall_into_their_minutes() {
    let row = trace::Row {
        counts: vec![3, 0, 5],
        ..trace::generate(1).remove(0)
    };
    let requests = row.requests(1);
    let minutes: Vec<_> = requests.iter().map(|r| r.at.as_secs() / 60).collect();
    assert_eq!(minutes, [0, 0, 0, 2, 2, 2, 2, 2]);
}

#[test]
fn the_plot_is_an_svg_with_a_panel_for_each() {
    let pattern = asked([(seconds(1), ms(200))]);
    let outcomes = [PER_REQUEST, knative()].map(|a| (a, a.play(&pattern)));
    let file = std::env::temp_dir().join(format!("thaw-plot-{}.svg", std::process::id()));
    plot::plot(&[(pattern, outcomes.to_vec())], &file).unwrap();
    let svg = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches(": asked").count(), 2);
}
