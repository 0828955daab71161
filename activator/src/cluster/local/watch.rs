//! Which entrypoint a changed file belongs to, and its restart.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};

use super::{
    View,
    functions::{Functions, Name},
    manifest,
};

/// Editors and compilers write a file in several steps; what comes within this time is one change.
const SETTLE: Duration = Duration::from_millis(100);
/// Directories that others fill: their files belong to nobody.
const FOREIGN: [&str; 3] = ["node_modules", "target", "__pycache__"];

/// The files whose change restarts an entrypoint.
#[derive(Clone, Debug)]
struct Watched {
    name: Name,
    dir: PathBuf,
    /// Files that its command line names.
    named: Vec<PathBuf>,
}

/// Watches the manifest files and the working directories.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    functions: Functions,
    view: View,
    /// The manifests as they were given: what is beside a link is not what is beside its target.
    given: Vec<PathBuf>,
    watcher: RecommendedWatcher,
    changed: UnboundedReceiver<PathBuf>,
    /// What is watched, and whether with everything below.
    roots: HashSet<(PathBuf, bool)>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// This machine cannot watch files.
    pub fn start(files: &[PathBuf], functions: Functions, view: View) -> notify::Result<Self> {
        let (changes, changed) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |event| pass_on(event, &changes))?;
        let mut watch = Self {
            files: files.iter().map(|file| real(file)).collect(),
            functions,
            view,
            given: files.to_vec(),
            watcher,
            changed,
            roots: HashSet::new(),
        };
        watch.look_at_all()?;
        Ok(watch)
    }

    /// Restarts what changes, for ever.
    pub async fn follow(mut self) {
        while let Some(first) = self.changed.recv().await {
            sleep(SETTLE).await;
            let mut paths = BTreeSet::from([first]);
            while let Ok(path) = self.changed.try_recv() {
                paths.insert(path);
            }
            if self.files.iter().any(|file| paths.contains(file)) {
                self.read_again();
            }
            let watched = self.watched();
            let files: Vec<_> = paths
                .iter()
                .filter(|path| !self.files.contains(path))
                .collect();
            let restarting: BTreeSet<_> = files
                .iter()
                .flat_map(|path| belongs_to(path, &watched))
                .collect();
            if !restarting.is_empty() {
                let names: Vec<_> = restarting.iter().map(|name| name.2.as_str()).collect();
                let news = format!("{} changed: {} restarts", list(&files), names.join(", "));
                let restarting: Vec<_> = restarting.into_iter().cloned().collect();
                self.functions.restart(&restarting);
                self.view.news(&news);
            }
        }
    }

    fn read_again(&mut self) {
        match manifest::read(&self.given) {
            Ok(read) => {
                // Said when it is so: who reads it may send the next request.
                self.functions.apply(read.functions);
                self.view.news("the manifest changed and is read again");
                read.notes.iter().for_each(|note| self.view.news(note));
                if let Err(error) = self.look_at_all() {
                    self.view
                        .news(&format!("not every file can be watched: {error}"));
                }
            }
            Err(problems) => {
                self.view.news(&format!(
                    "the manifest changed, and the old one stays:\n{problems}"
                ));
            }
        }
    }

    fn watched(&self) -> Vec<Watched> {
        let all = self.functions.programs().map(|(name, program)| Watched {
            name,
            dir: real(&program.dir),
            named: program
                .named_files()
                .filter(|file| file.is_file())
                .map(|file| real(&file))
                .collect(),
        });
        all.collect()
    }

    /// Watches what is not watched yet. A file is watched by its directory, since editors put a new file in its place.
    fn look_at_all(&mut self) -> notify::Result<()> {
        let parent = |file: &PathBuf| file.parent().map(Path::to_owned);
        let mut roots: HashSet<_> = self
            .files
            .iter()
            .filter_map(parent)
            .map(|dir| (dir, false))
            .collect();
        for watched in self.watched() {
            // A program of the system, such as node, does not change while somebody works.
            let beside = watched.named.iter().filter_map(parent);
            roots.extend(
                beside
                    .filter(|dir| !dir.starts_with(&watched.dir))
                    .map(|dir| (dir, false)),
            );
            roots.insert((watched.dir, true));
        }
        // The wider watch of a directory comes last and stays.
        let mut new: Vec<_> = roots.difference(&self.roots).cloned().collect();
        new.sort_by_key(|(_, is_deep)| *is_deep);
        for (dir, is_deep) in new {
            let mode = if is_deep {
                RecursiveMode::Recursive
            } else {
                RecursiveMode::NonRecursive
            };
            self.watcher.watch(&dir, mode)?;
            self.roots.insert((dir, is_deep));
        }
        Ok(())
    }
}

/// Passes on what changed a file's content or place.
fn pass_on(event: notify::Result<Event>, changes: &UnboundedSender<PathBuf>) {
    let Ok(event) = event else { return };
    let is_change = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any => true,
        EventKind::Modify(what) => !matches!(what, ModifyKind::Metadata(_)),
        EventKind::Access(_) | EventKind::Other => false,
    };
    if is_change {
        event.paths.into_iter().for_each(|path| {
            // Nobody listens any more only when the process ends.
            changes.send(path).ok();
        });
    }
}

/// The entrypoints that a file belongs to: those whose command line names it, or else all that run in a directory above it.
fn belongs_to<'a>(file: &Path, all: &'a [Watched]) -> Vec<&'a Name> {
    let naming = all
        .iter()
        .filter(|watched| watched.named.iter().any(|named| named == file));
    let naming: Vec<_> = naming.map(|watched| &watched.name).collect();
    if !naming.is_empty() {
        return naming;
    }
    let sharing = all.iter().filter(|watched| {
        file.strip_prefix(&watched.dir)
            .is_ok_and(|below| !is_foreign(below))
    });
    sharing.map(|watched| &watched.name).collect()
}

/// Whether a file is an editor's, that of a tool, or one that programs write where they run.
fn is_foreign(below: &Path) -> bool {
    let mut parts = below.components().filter_map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    let is_tool = |part: &str| part.starts_with('.') || FOREIGN.contains(&part);
    let Some(name) = below.file_name().and_then(|name| name.to_str()) else {
        return true;
    };
    // Vim tries with a file called 4913 whether it may write.
    let is_editors = name.ends_with('~')
        || name.starts_with('#')
        || name == "4913"
        || [
            ".swp", ".swx", ".swo", ".tmp", ".bak", ".log", ".pid", "-journal", "-wal",
        ]
        .iter()
        .any(|end| name.ends_with(end));
    is_editors || parts.any(is_tool)
}

/// The path by which the system tells of a change.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn list(files: &[&PathBuf]) -> String {
    let name = |path: &&PathBuf| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let names: Vec<_> = files.iter().filter_map(name).take(3).collect();
    let more = if files.len() > names.len() {
        " and more"
    } else {
        ""
    };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(name: &str, dir: &str, named: &[&str]) -> Watched {
        Watched {
            name: (String::new(), String::new(), name.to_owned()),
            dir: dir.into(),
            named: named.iter().map(PathBuf::from).collect(),
        }
    }

    #[test]
    fn a_file_belongs_to_those_who_name_it_or_to_all_who_run_beside_it() {
        let all = [
            watched("orders", "/shop", &["/shop/orders.js"]),
            watched("home", "/shop", &["/shop/home.js"]),
            watched("deep", "/shop/deep", &["/shop/deep/home.js", "/lib/run.js"]),
        ];
        for (file, expected) in [
            ("/shop/orders.js", &["orders"][..]),
            ("/shop/deep/home.js", &["deep"]),
            ("/lib/run.js", &["deep"]),
            ("/lib/other.js", &[]),
            ("/shop/prices.json", &["orders", "home"]),
            ("/shop/deep/x.json", &["orders", "home", "deep"]),
            ("/shop/node_modules/a/index.js", &[]),
            ("/shop/.git/HEAD", &[]),
            ("/shop/target/debug/x", &[]),
            ("/shop/__pycache__/x.pyc", &[]),
            ("/shop/orders.js~", &[]),
            ("/shop/.orders.js.swp", &[]),
            ("/shop/4913", &[]),
            ("/shopping/orders.js", &[]),
        ] {
            let found = belongs_to(Path::new(file), &all);
            let found: Vec<_> = found.iter().map(|name| name.2.as_str()).collect();
            assert_eq!(found, expected, "{file}");
        }
    }

    #[test]
    fn a_directory_above_may_have_any_name() {
        let all = [watched("web", "/home/.me/target/app", &[])];
        assert_eq!(
            belongs_to(Path::new("/home/.me/target/app/x.js"), &all).len(),
            1
        );
    }
}
