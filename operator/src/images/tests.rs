use super::*;

fn question(namespace: &str, image: &str) -> Question {
    Question {
        namespace: namespace.to_owned(),
        image: image.to_owned(),
        secrets: vec![],
        architecture: None,
    }
}

fn function(name: &str) -> ObjectRef<Guarded> {
    ObjectRef::new(name).within("prod")
}

fn images(settings: Settings) -> (Images, Asks, Woken) {
    let (images, Inquiries { asks, woken }) = Images::new(settings);
    (images, asks, woken)
}

fn readable() -> (Images, Asks, Woken) {
    images(Settings {
        may_read_secrets: true,
        may_read_nodes: true,
        ..Settings::default()
    })
}

fn size(bytes: u64) -> Size {
    Size {
        layers: vec![bytes],
        platform: None,
    }
}

fn unreachable() -> Silence {
    Silence::Unreachable("registry:5000".to_owned())
}

/// How many questions have been asked.
fn count(asks: &mut Asks) -> usize {
    std::iter::from_fn(|| asks.0.try_recv().ok()).count()
}

fn woken(woken: &mut Woken) -> Vec<String> {
    let mut names: Vec<_> = std::iter::from_fn(|| woken.try_recv().ok())
        .map(|f| f.name)
        .collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn one_question_is_asked_once_and_wakes_all_who_wait_for_it() {
    let (images, mut asks, mut wake) = readable();
    let shop = question("prod", "registry:5000/shop:2");
    for name in ["a", "b", "a"] {
        assert_eq!(images.evidence(&shop, &function(name)), Evidence::Awaited);
    }
    assert_eq!(count(&mut asks), 1);
    images.answered(&shop, Ok(size(7)));
    assert_eq!(woken(&mut wake), ["a", "b"]);
    assert_eq!(
        images.evidence(&shop, &function("a")),
        Evidence::Registry(size(7))
    );
    assert_eq!(count(&mut asks), 0, "the answer is fresh");

    tokio::time::advance(FRESH).await;
    assert_eq!(
        images.evidence(&shop, &function("a")),
        Evidence::Registry(size(7))
    );
    assert_eq!(
        count(&mut asks),
        1,
        "it is asked again, and the old answer counts meanwhile"
    );
}

#[tokio::test(start_paused = true)]
async fn what_one_namespace_was_told_is_not_told_to_another() {
    let (images, mut asks, _wake) = readable();
    let image = "registry:5000/shop:2";
    let ours = Question {
        secrets: vec!["login".to_owned()],
        ..question("prod", image)
    };
    images.answered(&ours, Ok(size(7)));
    assert_eq!(
        images.evidence(&ours, &function("a")),
        Evidence::Registry(size(7))
    );
    for theirs in [question("prod", image), question("other", image)] {
        assert_eq!(images.evidence(&theirs, &function("a")), Evidence::Awaited);
    }
    assert_eq!(count(&mut asks), 2);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_nothing_is_asked_more_and_more_seldom() {
    let (images, mut asks, _wake) = images(Settings::default());
    let shop = question("prod", "registry:5000/shop:2");
    let mut waits = Vec::new();
    let mut since = Instant::now();
    while waits.len() < 8 {
        let evidence = images.evidence(&shop, &function("a"));
        if !waits.is_empty() {
            assert!(matches!(evidence, Evidence::Unknowable(_)), "{evidence:?}");
        }
        if count(&mut asks) == 1 {
            waits.push((Instant::now() - since).as_secs());
            since = Instant::now();
            images.answered(&shop, Err(unreachable()));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
}

#[tokio::test(start_paused = true)]
async fn where_the_registry_says_nothing_nodes_are_asked() {
    let (images, mut asks, mut wake) = readable();
    let shop = question("prod", "registry:5000/shop:2");
    images.answered(&shop, Err(unreachable()));
    assert_eq!(images.evidence(&shop, &function("a")), Evidence::Awaited);
    assert!(matches!(asks.0.try_recv(), Ok(Asked::Nodes)));
    images.nodes_answered(Ok(Sizes::default()));
    assert_eq!(woken(&mut wake), ["a"]);
    let nowhere = Evidence::Nowhere("registry:5000 cannot be reached".to_owned());
    assert_eq!(images.evidence(&shop, &function("a")), nowhere);

    tokio::time::advance(NODES_FRESH).await;
    assert_eq!(images.evidence(&shop, &function("a")), nowhere);
    assert!(matches!(asks.0.try_recv(), Ok(Asked::Nodes)));
    images.nodes_answered(Ok(Sizes::of_one("registry:5000/shop:2", 9)));
    assert_eq!(images.evidence(&shop, &function("a")), Evidence::Node(9));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_looks_at_is_forgotten() {
    let (images, _asks, _wake) = readable();
    for number in 0..100 {
        images.answered(&question("prod", &format!("a:{number}")), Ok(size(1)));
    }
    tokio::time::advance(FRESH + FORGOTTEN).await;
    let evidence = images.evidence(&question("prod", "b:1"), &function("a"));
    assert_eq!(evidence, Evidence::Awaited);
    assert_eq!(images.known().registries.len(), 1);
}

#[test]
fn a_functions_own_limit_outranks_the_charts_and_zero_is_none() {
    let (images, ..) = Images::new(Settings {
        max_size: Some(5),
        ..Settings::default()
    });
    assert_eq!(images.limit(None), Some(5));
    assert_eq!(images.limit(Some(7)), Some(7));
    assert_eq!(images.limit(Some(0)), None);
    assert_eq!(Images::default().limit(None), None);
}
