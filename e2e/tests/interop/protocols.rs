//! What is played, and on which functions.

/// A protocol: `functions/{name}.*` speak it with `clients/{name}.*`.
#[derive(Debug)]
pub(crate) struct Protocol {
    /// Name of its programs.
    pub(crate) name: &'static str,
    /// Fields of every function.
    fields: &'static str,
    /// In the order in which a client plays them.
    pub(crate) scenarios: &'static [Scenario],
    /// What a function says that it saw in one run of a client, in the order of the alphabet: without Thaw, and behind it.
    pub(crate) seen: [&'static [&'static str]; 2],
}

/// One story of a client, behind Thaw on a function of its own, so that each begins at zero. There is one instance at most: whoever comes
/// before it is free again waits, and a slot that is never given back is noticed.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    concurrency: u32,
    /// More fields of its function.
    fields: &'static str,
    /// Instances that are not used again after it.
    retired: usize,
}

pub(crate) const RPC: Protocol = Protocol {
    name: "rpc",
    fields: "protocol: H2C",
    scenarios: &[
        plain("unary"),
        plain("serverstream"),
        plain("clientstream"),
        plain("bidi"),
        plain("error"),
        plain("cancel"),
        cut("cut"),
        plain("deadline"),
        plain("large"),
        shared("crowd", 200),
    ],
    seen: [
        &["linger cancelled", "linger cancelled"],
        // A client that leaves does not end an invocation, unless the manifest says so.
        &["linger cancelled", "linger finished"],
    ],
};

pub(crate) const SOCKETS: Protocol = Protocol {
    name: "sockets",
    fields: "",
    scenarios: &[
        plain("echo"),
        plain("large"),
        plain("fragments"),
        plain("ping"),
        plain("close"),
        plain("abrupt"),
        plain("choices"),
        plain("refused"),
        Scenario {
            fields: "timeouts: {firstByte: 1s}",
            ..plain("quiet")
        },
        shared("crowd", 200),
    ],
    seen: [CLOSED, CLOSED],
};

const CLOSED: &[&str] = &[
    "closed 1000 bye",
    "closed 1001 going away",
    "closed 1006",
    "closed 3001",
    "closed 4001 raison d’être ☃",
];

pub(crate) const EVENTS: Protocol = Protocol {
    name: "events",
    fields: "",
    scenarios: &[
        plain("reconnect"),
        plain("bytes"),
        shared("live", 2),
        plain("leave"),
        cut("cut"),
    ],
    seen: RPC.seen,
};

pub(crate) const WEB: Protocol = Protocol {
    name: "web",
    fields: "",
    scenarios: &[
        plain("methods"),
        plain("heads"),
        plain("bodies"),
        plain("duplex"),
        plain("early"),
        plain("trailers"),
        plain("continue"),
        plain("bodiless"),
        plain("old"),
        plain("pipeline"),
        plain("upgrade"),
    ],
    seen: [&[], &[]],
};

const fn plain(name: &'static str) -> Scenario {
    shared(name, 1)
}

const fn shared(name: &'static str, concurrency: u32) -> Scenario {
    Scenario {
        name,
        concurrency,
        fields: "",
        retired: 0,
    }
}

const fn cut(name: &'static str) -> Scenario {
    Scenario {
        fields: "onDisconnect: Cancel",
        retired: 1,
        ..plain(name)
    }
}

impl Protocol {
    /// The manifest of a function for each scenario.
    pub(crate) fn manifest(&self, command: &[String]) -> String {
        let function = |scenario: &Scenario| {
            let scale = format!(
                "scale: {{max: 1, concurrency: {}, idleAfter: 10m}}",
                scenario.concurrency
            );
            manifest(
                scenario.name,
                command,
                &[&scale, self.fields, scenario.fields],
            )
        };
        self.scenarios.iter().map(function).collect()
    }

    /// Boots of a run from zero, and of one after it.
    pub(crate) fn boots(&self) -> [usize; 2] {
        let retired = self.scenarios.iter().map(|scenario| scenario.retired).sum();
        [self.scenarios.len() + retired, retired]
    }
}

/// One function. It is never frozen: what is asked for is the path of a hot request.
pub(crate) fn manifest(name: &str, command: &[String], fields: &[&str]) -> String {
    let fields: String = fields
        .iter()
        .filter(|field| !field.is_empty())
        .map(|field| format!(", {field}"))
        .collect();
    format!(
        "---
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: {name}, namespace: interop}}
spec:
  image: none:1
  entrypoints:
    - {{name: all, path: /, command: {command:?}, freeze: {{mode: Never}}{fields}}}
"
    )
}
