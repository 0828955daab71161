//! A run, made from a seed: the settings, how it begins, and what happens.

use super::*;

/// One thing that happens. A number picks one of those that there are at that moment, so that any part of a plan is a plan too.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Arrive,
    Cancel(usize),
    End(usize, Ending),
    /// The instance of the invocation could not be reached.
    Again(usize),
    Took(Duration),
    /// The cluster catches up with `replicas`: pods are made, or the cheapest deleted.
    Reconcile,
    RefuseCreation,
    ConfirmScale,
    ConfirmMark,
    /// The next freeze or thaw is carried out.
    Obey,
    Permit(u32),
    Accept(usize),
    WaitsFor(usize),
    Break(usize),
    Evict(usize),
    /// Another replica begins or ends its use of an instance.
    Hold(usize),
    Own(Takeover),
    Leave,
    Sleep(Duration),
    /// `min`, `max`, `concurrency`.
    Configure(u32, u32, u32),
    /// Demand ends, the cluster catches up, the idle window passes.
    Quiet,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    /// Boots need a permit.
    pub(super) is_paced: bool,
    /// Where the engine begins standing by: the instances that are there, and whether another replica uses each.
    pub(super) inherited: Option<Vec<bool>>,
    pub(super) steps: Vec<Step>,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let settings = settings_by(&mut dice);
        let is_paced = dice.roll(3) == 0;
        let inherited = (dice.roll(4) == 0).then(|| {
            let pods = dice.roll(u64::from(settings.max) + 1);
            (0..pods).map(|_| dice.roll(2) == 0).collect()
        });
        let steps = (0..=dice.roll(400)).map(|_| step_by(&mut dice)).collect();
        Self {
            settings,
            is_paced,
            inherited,
            steps,
        }
    }

    /// The same with fewer steps, as long as it `still` goes wrong.
    pub(super) fn shrunk(mut self, still: impl Fn(&Self) -> bool) -> Self {
        let mut chunk = self.steps.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            while at < self.steps.len() {
                let mut shorter = self.clone();
                let end = (at + chunk).min(shorter.steps.len());
                shorter.steps.drain(at..end);
                if still(&shorter) {
                    self = shorter;
                } else {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
        self
    }
}

fn settings_by(dice: &mut Dice) -> Settings {
    let of_bounds = |(min, max, concurrency)| Settings {
        min,
        max,
        concurrency,
        ..settings()
    };
    Settings {
        burst: dice.one_of([Burst::PerRequest, Burst::Drain]),
        idle_after: dice.one_of([seconds(5), seconds(60)]),
        freeze_after: dice.one_of([None, Some(seconds(1)), Some(seconds(10))]),
        queue: dice.one_of([1, 3, 10, 20]),
        queue_timeout: dice.one_of([None, Some(seconds(2)), Some(seconds(30))]),
        boot_timeout: dice.one_of([None, Some(seconds(3)), Some(seconds(60))]),
        suspect_for: seconds(40),
        ..of_bounds(bounds_by(dice))
    }
}

/// `min`, `max`, `concurrency`.
fn bounds_by(dice: &mut Dice) -> (u32, u32, u32) {
    let max = 1 + dice.roll(8) as u32;
    ((dice.roll(3) as u32).min(max), max, 1 + dice.roll(4) as u32)
}

fn step_by(dice: &mut Dice) -> Step {
    let which = dice.roll(1 << 32) as usize;
    match dice.roll(610) {
        0..60 => Step::Arrive,
        60..70 => Step::Cancel(which),
        70..115 => Step::End(which, Ending::Clean),
        115..120 => Step::End(which, Ending::Broken),
        120..127 => Step::Again(which),
        127..135 => Step::Took(Duration::from_millis(dice.roll(3000))),
        135..195 => Step::Reconcile,
        195..200 => Step::RefuseCreation,
        200..260 => Step::ConfirmScale,
        260..300 => Step::ConfirmMark,
        300..370 => Step::Accept(which),
        370..372 => Step::WaitsFor(which),
        372..382 => Step::Break(which),
        382..390 => Step::Evict(which),
        390..400 => Step::Hold(which),
        400..410 => Step::Own(dice.one_of([Takeover::Released, Takeover::Lapsed])),
        410..411 => Step::Leave,
        411..440 => Step::Sleep(Duration::from_millis(dice.roll(1500))),
        440..490 => Step::Sleep(seconds(dice.roll(30))),
        490..500 => Step::Sleep(seconds(dice.roll(400))),
        500..507 => {
            let (min, max, concurrency) = bounds_by(dice);
            Step::Configure(min, max, concurrency)
        }
        507..570 => Step::Obey,
        570..607 => Step::Permit(1 + dice.roll(3) as u32),
        _ => Step::Quiet,
    }
}

/// Splitmix64: the same numbers for the same seed, on every machine and for ever.
struct Dice(u64);

impl Dice {
    /// A number below `n`.
    fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_of<T: Copy, const N: usize>(&mut self, faces: [T; N]) -> T {
        faces[self.roll(N as u64) as usize]
    }
}
