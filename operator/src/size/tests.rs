use super::*;

const MI: u64 = 1 << 20;

fn entrypoint(ready: Option<&str>, measured: Option<Measured>) -> EntrypointStatus {
    EntrypointStatus {
        name: "web".to_owned(),
        ready_revision: ready.map(str::to_owned),
        measured,
        ..EntrypointStatus::default()
    }
}

fn situation(before: &EntrypointStatus) -> Situation<'_> {
    Situation {
        entrypoint: "web",
        wanted: "new",
        image: "registry:5000/shop:2",
        limit: Some(10 * MI),
        before,
    }
}

fn of(layers: &[u64]) -> Evidence {
    Evidence::Registry(Size {
        layers: layers.to_vec(),
        platform: None,
    })
}

fn record(by: Measurer, bytes: Option<u64>) -> Measured {
    Measured {
        revision: "new".to_owned(),
        by,
        bytes: bytes.map(|bytes| i64::try_from(bytes).unwrap()),
        message: String::new(),
    }
}

fn never() -> Evidence {
    panic!("nobody has to be asked")
}

fn message(verdict: &Verdict) -> &str {
    match &verdict.trouble {
        Some(Trouble::Stalled(_, message) | Trouble::Retrying(_, message)) => message,
        None => "",
    }
}

#[test]
fn without_a_limit_nobody_is_asked() {
    let before = entrypoint(Some("old"), None);
    let unlimited = Situation {
        limit: None,
        ..situation(&before)
    };
    assert_eq!(judge(unlimited, never), Verdict::default());
}

#[test]
fn an_image_of_the_limit_fits_and_one_byte_more_does_not() {
    let before = entrypoint(None, None);
    let fits = judge(situation(&before), || of(&[4 * MI, 6 * MI]));
    assert_eq!(fits.admission, Admission::Admitted);
    assert_eq!(
        fits.measured,
        Some(record(Measurer::Registry, Some(10 * MI)))
    );
    let large = judge(situation(&before), || of(&[4 * MI, 6 * MI + 1]));
    assert_eq!(large.admission, Admission::Refused);
    assert_eq!(
        large.measured,
        Some(record(Measurer::Registry, Some(10 * MI + 1)))
    );
}

#[test]
fn a_refusal_says_the_sizes_and_what_goes_on_serving() {
    let before = entrypoint(Some("old"), None);
    let large = Evidence::Registry(Size {
        layers: vec![12 * MI, MI / 2, 7],
        platform: Some("linux/arm64".to_owned()),
    });
    let verdict = judge(situation(&before), || large);
    assert_eq!(
        message(&verdict),
        "web: image registry:5000/shop:2 is 12.6Mi for linux/arm64, larger than maxSize 10Mi, in layers of 12Mi, 512Ki, 7; revision old keeps the traffic"
    );
    assert!(matches!(
        verdict.trouble,
        Some(Trouble::Stalled(Reason::ImageTooLarge, _))
    ));
    let first = entrypoint(None, None);
    let verdict = judge(situation(&first), || of(&[11 * MI]));
    assert!(message(&verdict).ends_with("; no pod of it starts"));
}

#[test]
fn many_layers_are_summed_up() {
    let before = entrypoint(None, None);
    let verdict = judge(situation(&before), || of(&[MI; 30]));
    assert!(
        message(&verdict).contains("1Mi and 10 more of 10Mi in all"),
        "{}",
        message(&verdict)
    );
    let absurd = judge(situation(&before), || of(&[u64::MAX, u64::MAX]));
    assert_eq!(absurd.admission, Admission::Refused);
}

#[test]
fn what_has_taken_traffic_is_never_asked_about_again() {
    let mut kept = entrypoint(Some("newer"), None);
    kept.kept_revisions = vec!["new".to_owned()];
    let lowered = entrypoint(Some("new"), Some(record(Measurer::Registry, Some(20 * MI))));
    for before in [&entrypoint(Some("new"), None), &kept, &lowered] {
        let verdict = judge(situation(before), never);
        assert_eq!(verdict.admission, Admission::Admitted);
        assert_eq!(verdict.measured, before.measured);
    }
}

#[test]
fn what_was_measured_is_not_measured_again_after_a_restart() {
    let small = entrypoint(Some("old"), Some(record(Measurer::Registry, Some(MI))));
    assert_eq!(
        judge(situation(&small), never).admission,
        Admission::Admitted
    );
    let large = entrypoint(Some("old"), Some(record(Measurer::Registry, Some(11 * MI))));
    let verdict = judge(situation(&large), || Evidence::Awaited);
    assert_eq!(verdict.admission, Admission::Refused);
    assert!(message(&verdict).contains("is 11Mi, larger than maxSize 10Mi"));
    // Somebody has pushed a smaller one under the same tag.
    let verdict = judge(situation(&large), || of(&[MI]));
    assert_eq!(verdict.admission, Admission::Admitted);
}

#[test]
fn while_the_registry_is_asked_nothing_boots() {
    let before = entrypoint(Some("old"), None);
    let verdict = judge(situation(&before), || Evidence::Awaited);
    assert_eq!(verdict.admission, Admission::Waits);
    assert!(matches!(
        verdict.trouble,
        Some(Trouble::Retrying(Reason::MeasuringImage, _))
    ));
    assert!(message(&verdict).ends_with("revision old keeps the traffic"));
}

#[test]
fn an_image_that_nobody_knows_boots_once_and_the_node_decides() {
    let before = entrypoint(None, None);
    let nowhere = || Evidence::Nowhere("registry:5000 cannot be reached".to_owned());
    let verdict = judge(situation(&before), nowhere);
    assert_eq!(verdict.admission, Admission::Unmeasured);
    assert_eq!(verdict.trouble, None);
    let record = verdict.measured.unwrap();
    assert_eq!((record.by, record.bytes), (Measurer::Nobody, None));
    assert_eq!(record.message, "registry:5000 cannot be reached");

    let serving = entrypoint(Some("new"), Some(record));
    assert_eq!(
        judge(situation(&serving), || Evidence::Awaited).admission,
        Admission::Unmeasured
    );
    let small = judge(situation(&serving), || Evidence::Node(MI));
    assert_eq!(small.admission, Admission::Admitted);
    assert_eq!(small.measured.map(|m| m.by), Some(Measurer::Node));
    let large = judge(situation(&serving), || Evidence::Node(11 * MI));
    assert_eq!(large.admission, Admission::Refused);
    assert!(
        message(&large)
            .contains("is 11Mi, larger than maxSize 10Mi; that is what it takes on a node")
    );
}

#[test]
fn without_leave_to_ask_nodes_an_image_that_nobody_knows_does_not_boot() {
    let before = entrypoint(Some("old"), None);
    let verdict = judge(situation(&before), || {
        Evidence::Unknowable("no answer".to_owned())
    });
    assert_eq!(verdict.admission, Admission::Waits);
    assert!(matches!(
        verdict.trouble,
        Some(Trouble::Stalled(Reason::ImageUnmeasured, _))
    ));
    assert!(
        message(&verdict).contains("no answer, and Thaw may not ask nodes"),
        "{}",
        message(&verdict)
    );
}

#[test]
fn a_size_is_rounded_up_so_that_it_does_not_read_like_the_limit() {
    for (bytes, text) in [
        (0, "0"),
        (1023, "1023"),
        (1024, "1Ki"),
        (10 * MI, "10Mi"),
        (10 * MI + 1, "10.1Mi"),
        (11 * MI - 1, "11Mi"),
        (250 * MI, "250Mi"),
        (3 << 29, "1.5Gi"),
        (u64::MAX, "16777216Ti"),
    ] {
        assert_eq!(human(bytes), text, "{bytes}");
    }
}
