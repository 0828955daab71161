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

/// Time stands still as long as anybody has something to do.
#[tokio::test(start_paused = true)]
async fn nodes_and_other_namespaces_are_asked_while_the_questions_of_one_hang() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = listener.local_addr().unwrap().to_string();
    let (images, asks, mut wake) = images(Settings {
        insecure: vec![hangs.clone()],
        ..Settings::default()
    });
    for number in 0..100 {
        let hung = question("prod", &format!("{hangs}/shop:{number}"));
        images.evidence(&hung, &function("hung"));
    }
    images.evidence(&question("test", "no image"), &function("other"));
    let mut nodes = Answer::default();
    images.look(&mut nodes, &function("nodes"), || Asked::Nodes);
    images.known().nodes = nodes;

    let double = crate::double::Double::default();
    let client = double.client();
    let first_two = async { [wake.recv().await.unwrap(), wake.recv().await.unwrap()] };
    let woken = tokio::select! {
        woken = first_two => woken,
        () = ask(&images, &client, asks) => panic!("it asks for ever"),
    };
    let mut names = woken.map(|function| function.name);
    names.sort_unstable();
    assert_eq!(names, ["nodes", "other"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_an_impossible_name_is_not_asked_for() {
    let (images, ..) = readable();
    let double = crate::double::Double::default();
    let asked = Question {
        secrets: ["?watch=true", "a/b", "", "..", "Login"]
            .map(str::to_owned)
            .to_vec(),
        ..question("prod", "registry:5000/shop:2")
    };
    assert!(secrets(&images, &double.client(), &asked).await.is_empty());
    assert!(double.take_requests().is_empty());
}

#[tokio::test]
async fn a_question_that_panics_has_an_end() {
    assert_eq!(unless_it_panics(async { 7 }).await, Some(7));
    let bug = async {
        tokio::task::yield_now().await;
        panic!("a bug")
    };
    assert_eq!(unless_it_panics::<()>(bug).await, None);
}
