//! The search for splits among folders: which are, which may be, and where the classes are if none is.
//!
//! Pure: from the tree of folders to a verdict; what a verdict in doubt comes to is decided by the caller.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Layout, Part, split_name, tree::Folder};
use crate::datasets::manifest::Split;

/// Most folders around the folders of splits.
const MAX_OUTER: usize = 6;

/// Of how many photos one may lie elsewhere when splits are found deep down; with more it is in doubt what the set is.
const ELSEWHERE: usize = 10;

/// What of a data set's folders are splits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No folder is called so, or they hold what makes them classes like others.
    None,
    /// These.
    Splits(Layout),
    /// Perhaps these; all of them may be classes as well.
    Doubt(Layout),
    /// Folders called as splits, with photos directly in them.
    Bare(Vec<String>),
    /// Folders with splits of their own, each of them perhaps a data set.
    Several {
        folders: Vec<String>,
        /// The splits if each is a class instead, and what is in its splits no classes.
        splits: Option<Layout>,
    },
}

/// The classes if no folder is a split: those in the first folder that is not alone.
pub(super) fn classes(root: &Folder<'_>) -> Layout {
    let (outer, _) = of_classes(root);
    let all = Part { split: Split::Train, class: None, has_labels: true };
    Layout { outer, parts: HashMap::from([(String::new(), all)]) }
}

/// Folders among those of [`classes`] that may be whole data sets: they hold several folders that others hold too, as folds,
/// variants and domains do, or that lie beside them, as a copy of the whole does.
pub(super) fn repeated(root: &Folder<'_>) -> Vec<String> {
    let (outer, folder) = of_classes(root);
    let beside: BTreeSet<&str> = folder.filled().map(|(name, _)| name).collect();
    let inside = || folder.filled().filter(|(_, class)| class.photos == 0);
    let mut times: HashMap<&str, usize> = HashMap::new();
    inside().flat_map(|(_, class)| class.filled()).for_each(|(name, _)| *times.entry(name).or_default() += 1);
    // Neighbours among the names that several hold, so that the time grows with the folders, and not with their pairs.
    let mut pairs: HashMap<(&str, &str), usize> = HashMap::new();
    inside().flat_map(|(_, class)| neighbours(class, &times)).for_each(|pair| *pairs.entry(pair).or_default() += 1);
    let is_set = |class: &Folder<'_>| {
        let is_copy = class.filled().filter(|(name, _)| beside.contains(name)).nth(1).is_some();
        is_copy || neighbours(class, &times).iter().any(|pair| pairs[pair] > 1)
    };
    inside().filter(|(_, class)| is_set(class)).map(|(name, _)| format!("{outer}{name}/")).collect()
}

/// Each two folders in `class` that follow each other among those whose names occur several `times`.
fn neighbours<'a>(class: &Folder<'a>, times: &HashMap<&str, usize>) -> Vec<(&'a str, &'a str)> {
    let shared: Vec<&'a str> = class.filled().map(|(name, _)| name).filter(|name| times[name] > 1).collect();
    shared.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// The first folder that is not alone, and where it is.
fn of_classes<'t, 'a>(root: &'t Folder<'a>) -> (String, &'t Folder<'a>) {
    let (mut outer, mut folder) = (String::new(), root);
    while let Some((name, inner)) = folder.inner() {
        outer = format!("{outer}{name}/");
        folder = inner;
    }
    (outer, folder)
}

/// The splits in `root`.
pub(super) fn splits(root: &Folder<'_>) -> Verdict {
    let (mut outer, mut folder) = (String::new(), root);
    loop {
        let found = [at(folder, &outer), deeper(folder, &outer), mostly_below(folder, &outer), beside(folder, &outer)];
        if let Some(verdict) = found.into_iter().find(|verdict| *verdict != Verdict::None) {
            return verdict;
        }
        let Some((name, inner)) = folder.inner() else { return Verdict::None };
        outer = format!("{outer}{name}/");
        folder = inner;
    }
}

/// The splits right in `folder`, or right below the classes in it.
fn at(folder: &Folder<'_>, outer: &str) -> Verdict {
    let over = Over::of(folder).filter(|_| !is_outer(folder));
    if let Some(over) = over.as_ref().filter(|over| over.has_classes()) {
        let layout = over.layout(outer);
        return if over.is_all || over.agrees() { Verdict::Splits(layout) } else { Verdict::Doubt(layout) };
    }
    if let Some(alike) = Over::alike(folder) {
        return Verdict::Doubt(alike.layout(outer));
    }
    let of_classes = below(folder);
    match over {
        Some(over) if over.is_all || over.splits().len() > 1 => over.doubt(outer),
        _ if of_classes.is_whole() && of_classes.are_folds => {
            Verdict::Several { folders: of_classes.names(outer), splits: Some(of_classes.layout(outer)) }
        }
        _ if of_classes.is_whole() => Verdict::Splits(of_classes.layout(outer)),
        _ => Verdict::None,
    }
}

/// Whether the one folder in `folder` holds a whole data set with splits, whatever it is called itself.
fn is_outer(folder: &Folder<'_>) -> bool {
    let mut inside = std::iter::successors(folder.inner(), |(_, inner)| inner.inner());
    inside.any(|(_, inner)| {
        let has_several = Over::of(inner).is_some_and(|over| over.splits().len() > 1);
        has_several || below(inner).is_whole()
    })
}

/// Splits below most of the classes in `folder`.
fn mostly_below(folder: &Folder<'_>, outer: &str) -> Verdict {
    let below = below(folder);
    let split = below.classes.iter().filter(|(_, class)| class.values().any(|split| *split == Split::Train)).count();
    if split > 1 && split * 2 > below.all { Verdict::Doubt(below.layout(outer)) } else { Verdict::None }
}

/// A split that may be a class as the folders beside it are, whatever is in it.
fn beside(folder: &Folder<'_>, outer: &str) -> Verdict {
    let over = Over::of(folder).filter(|over| !over.is_all && !over.splits().is_empty());
    over.map_or(Verdict::None, |over| over.doubt(outer))
}

/// Splits that agree on their classes in folders of `folder`, the least deep ones.
fn deeper(folder: &Folder<'_>, outer: &str) -> Verdict {
    let mut level: Vec<(String, &Folder<'_>)> = vec![(outer.to_owned(), folder)];
    for _ in 0..MAX_OUTER {
        level = level.iter().flat_map(|(outer, folder)| nested(folder, outer)).collect();
        let sets = level.iter().filter_map(|(outer, folder)| Some((outer, folder, Over::of(folder).filter(Over::agrees)?)));
        let sets: Vec<_> = sets.collect();
        match &sets[..] {
            [] => {}
            [(place, inside, over)] => {
                let layout = over.layout(place);
                let called = split_name::splits(folder.filled().map(|(name, _)| name));
                let other = |(name, folder): (&str, &Folder<'_>)| {
                    let holds_it = place.strip_prefix(outer).is_some_and(|rest| rest.starts_with(&format!("{name}/")));
                    if called.contains_key(name) || holds_it { 0 } else { folder.total }
                };
                let elsewhere: usize = folder.filled().map(other).sum();
                let is_rest = elsewhere * ELSEWHERE < inside.total;
                return if is_rest { Verdict::Splits(layout) } else { Verdict::Doubt(layout) };
            }
            several => {
                let folders = several.iter().map(|(place, ..)| (*place).clone()).collect();
                let splits = match mostly_below(folder, outer) {
                    Verdict::Doubt(splits) => Some(splits),
                    _ => None,
                };
                return Verdict::Several { folders, splits };
            }
        }
    }
    Verdict::None
}

/// The folders in `folder` that hold folders with photos, with their places.
fn nested<'t, 'a>(folder: &'t Folder<'a>, outer: &str) -> Vec<(String, &'t Folder<'a>)> {
    let filled = folder.filled().filter(|(_, folder)| folder.has_folders());
    filled.map(|(name, folder)| (format!("{outer}{name}/"), folder)).collect()
}

/// Folders called as splits, side by side.
struct Over<'a> {
    parts: Vec<Side<'a>>,
    /// Whether no other folder lies beside them.
    is_all: bool,
}

/// A folder called as a split.
struct Side<'a> {
    name: &'a str,
    split: Split,
    /// The folders from it to its classes, each with its `/`.
    inner: String,
    classes: BTreeSet<&'a str>,
    photos: usize,
}

impl<'a> Over<'a> {
    fn of(folder: &Folder<'a>) -> Option<Self> {
        let children: BTreeMap<&'a str, &Folder<'a>> = folder.children().collect();
        let splits = split_name::splits(children.keys().copied());
        if splits.is_empty() {
            return None;
        }
        let is_all = splits.len() == children.len();
        let (training, others): (Vec<_>, Vec<_>) = splits.into_iter().partition(|(_, split)| *split == Split::Train);
        let mut parts: Vec<Side<'a>> =
            training.into_iter().map(|(name, split)| Side::of(name, split, children[name], &BTreeSet::new())).collect();
        let known: BTreeSet<&str> = parts.iter().flat_map(|part| part.classes.iter().copied()).collect();
        parts.extend(others.into_iter().map(|(name, split)| Side::of(name, split, children[name], &known)));
        Some(Self { parts, is_all })
    }

    /// Folders that look alike inside, some of them called somehow as a split: `train_augmented` and `val`, `photos` and `test`.
    /// What is not called so is for training.
    fn alike(folder: &Folder<'a>) -> Option<Self> {
        let side = |(name, inside): (&'a str, &Folder<'a>)| {
            let split = split_name::hint(name);
            (split.is_some(), Side::of(name, split.unwrap_or(Split::Train), inside, &BTreeSet::new()))
        };
        let sides: Vec<(bool, Side<'a>)> = folder.children().map(side).collect();
        // For each class the splits that hold it, a bit each: of all folders, and of those that are called as one.
        let mut holders: HashMap<&str, [u8; 2]> = HashMap::new();
        for (is_named, side) in &sides {
            for class in &side.classes {
                let [any, named] = holders.entry(class).or_default();
                *any |= 1 << side.split as u8;
                *named |= u8::from(*is_named) << side.split as u8;
            }
        }
        let is_alike = |side: &Side<'a>, among: usize| {
            side.classes.iter().any(|class| holders[class][among] & !(1 << side.split as u8) != 0)
        };
        let is_in_doubt = sides.iter().any(|(is_named, side)| *is_named && is_alike(side, 0));
        let all = sides.len();
        let kept: Vec<bool> = sides.iter().map(|(is_named, side)| *is_named || is_alike(side, 1)).collect();
        let parts: Vec<Side<'a>> = sides.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|((_, side), _)| side).collect();
        is_in_doubt.then_some(Self { is_all: parts.len() == all, parts })
    }

    /// Whether class folders lie in one for training; where every folder is a split, in any.
    fn has_classes(&self) -> bool {
        self.parts.iter().any(|part| (self.is_all || part.split == Split::Train) && !part.classes.is_empty())
    }

    /// Whether one for training and another have a class in common: no two classes look so.
    fn agrees(&self) -> bool {
        let known = self.trained();
        self.parts.iter().any(|part| part.split != Split::Train && !part.classes.is_disjoint(&known))
    }

    fn trained(&self) -> BTreeSet<&'a str> {
        let training = self.parts.iter().filter(|part| part.split == Split::Train);
        training.flat_map(|part| part.classes.iter().copied()).collect()
    }

    fn splits(&self) -> BTreeSet<u8> {
        self.parts.iter().filter(|part| part.photos > 0).map(|part| part.split as u8).collect()
    }

    /// What it is where it may be no split at all.
    fn doubt(&self, outer: &str) -> Verdict {
        if self.parts.iter().any(|part| !part.classes.is_empty()) {
            return Verdict::Doubt(self.layout(outer));
        }
        Verdict::Bare(self.parts.iter().map(|part| part.name.to_owned()).collect())
    }

    fn layout(&self, outer: &str) -> Layout {
        let known = self.trained();
        let part = |side: &Side<'a>| {
            // One folder that no class is called by, as in `test/images/`, holds photos of all of them.
            let has_labels = known.is_empty() || side.classes.len() > 1 || !side.classes.is_disjoint(&known);
            (format!("{}/{}", side.name, side.inner), Part { split: side.split, class: None, has_labels })
        };
        Layout { outer: outer.to_owned(), parts: self.parts.iter().map(part).collect() }
    }
}

impl<'a> Side<'a> {
    /// The folder `name`; the classes are in the first folder in it that is not alone, or is one of `known`.
    fn of(name: &'a str, split: Split, folder: &Folder<'a>, known: &BTreeSet<&str>) -> Self {
        let (mut inner, mut level) = (String::new(), folder);
        while let Some((name, folder)) = level.inner().filter(|(name, _)| level.photos == 0 && !known.contains(name)) {
            inner = format!("{inner}{name}/");
            level = folder;
        }
        let classes = level.filled().map(|(name, _)| name).collect();
        Self { name, split, inner, classes, photos: folder.total }
    }
}

/// Folders called as splits in the folders of classes.
struct Below<'a> {
    /// Those of every class that has some.
    classes: BTreeMap<&'a str, BTreeMap<&'a str, Split>>,
    /// Classes, with or without.
    all: usize,
    /// Whether a class has photos or folders beside its splits.
    has_others: bool,
    /// Whether the same folders lie in the splits of all: then these are the classes, and each of `classes` is a data set.
    are_folds: bool,
}

fn below<'a>(folder: &Folder<'a>) -> Below<'a> {
    let (mut classes, mut has_others, mut inner) = (BTreeMap::new(), false, Vec::new());
    for (name, class) in folder.filled() {
        let splits = split_name::splits(class.filled().map(|(name, _)| name));
        has_others |= class.photos > 0 || splits.len() < class.filled().count();
        if let Some(over) = Over::of(class).filter(Over::agrees) {
            inner.push(over.trained());
        }
        if !splits.is_empty() {
            classes.insert(name, splits);
        }
    }
    let all = folder.children().count();
    let are_folds = inner.len() == all && inner.iter().all(|found| found.len() > 1 && *found == inner[0]);
    Below { classes, all, has_others, are_folds }
}

impl Below<'_> {
    /// Whether all that is there are classes of splits.
    fn is_whole(&self) -> bool {
        let trains = self.classes.values().flat_map(BTreeMap::values).any(|split| *split == Split::Train);
        self.all > 1 && self.classes.len() == self.all && !self.has_others && trains
    }

    fn names(&self, outer: &str) -> Vec<String> {
        self.classes.keys().map(|name| format!("{outer}{name}/")).collect()
    }

    fn layout(&self, outer: &str) -> Layout {
        let parts = self.classes.iter().flat_map(|(class, splits)| {
            let part = move |split| Part { split, class: Some((*class).to_owned()), has_labels: true };
            splits.iter().map(move |(folder, split)| (format!("{class}/{folder}/"), part(*split)))
        });
        Layout { outer: outer.to_owned(), parts: parts.collect() }
    }
}
