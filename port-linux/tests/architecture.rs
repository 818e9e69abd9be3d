//! docs/architecture.md, held against the sources: files that it names are there, no crate needs one above it, and no modules of a
//! crate need each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// For each crate those of the workspace that it may need, tests aside.
const MAY_NEED: [(&str, &[&str]); 9] = [
    ("mpt-proto", &[]),
    ("mpt-proto/seal", &["mpt-proto"]),
    ("fuzz/link", &[]),
    ("port-linux", &["mpt-proto", "mpt-seal"]),
    ("port-linux/lab", &["mpt-link", "mpt-proto", "mpt-seal", "port-linux"]),
    ("port-linux/program", &["mpt-lab", "mpt-proto", "port-linux"]),
    ("port-raspbian", &["mpt"]),
    ("port-android", &["mpt-seal", "port-linux"]),
    ("fuzz", &["mpt-link", "mpt-proto", "mpt-seal", "port-linux"]),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn files_that_are_named_are_there() {
    let document = text(&repository().join("docs/architecture.md"));
    let roots = ["mpt-proto/", "port-linux/", "port-android/", "port-raspbian/", "fuzz/"];
    let (mut missing, mut count) = (Vec::new(), 0);
    for name in document.split('`').skip(1).step_by(2) {
        let is_pattern = name.contains(|c: char| c == ' ' || c.is_uppercase());
        if !is_pattern && roots.iter().any(|root| name.starts_with(root)) {
            count += 1;
            if !repository().join(name).exists() {
                missing.push(name);
            }
        }
    }
    assert!(count > 100, "only {count} files");
    assert_eq!(missing, [""; 0], "not there");
}

#[test]
fn no_crate_needs_one_above_it() {
    let names: BTreeMap<&str, toml::Table> = MAY_NEED
        .iter()
        .map(|(directory, _)| {
            let manifest = text(&repository().join(directory).join("Cargo.toml"));
            (*directory, manifest.parse().expect("a manifest"))
        })
        .collect();
    let ours: BTreeSet<&str> =
        names.values().map(|manifest| manifest["package"]["name"].as_str().expect("a name")).collect();
    let workspace: toml::Table = text(&repository().join("Cargo.toml")).parse().expect("a manifest");
    let members = workspace["workspace"]["members"].as_array().expect("a list");
    let unknown: Vec<_> =
        members.iter().filter_map(|it| it.as_str()).filter(|it| !names.contains_key(it)).collect();
    assert_eq!(unknown, [""; 0], "what may these need?");
    let mut wrong = Vec::new();
    for (directory, may) in MAY_NEED {
        let Some(needed) = names[directory].get("dependencies").and_then(toml::Value::as_table) else {
            continue;
        };
        let above =
            needed.keys().filter(|name| ours.contains(name.as_str()) && !may.contains(&name.as_str()));
        wrong.extend(above.map(|name| format!("{directory} needs {name}")));
    }
    assert_eq!(wrong, [""; 0]);
}

/// The modules of a crate that `lib.rs` declares, each with those that it needs.
type Needs = BTreeMap<String, BTreeSet<String>>;

/// Reads a crate's modules, without those that are for tests.
fn needs(source: &Path) -> Needs {
    let root: TokenStream = text(&source.join("lib.rs")).parse().expect("Rust");
    let modules = declared(root);
    let names: BTreeSet<String> = modules.iter().cloned().collect();
    let needs = modules.into_iter().map(|module| {
        let mut found = BTreeSet::new();
        read(&source.join(&module), 1, &names, &mut found);
        found.remove(&module);
        (module, found)
    });
    needs.collect()
}

/// Reads a module's file, `module.rs`, and those of the modules below it. It is `depth` modules below the crate.
fn read(module: &Path, depth: usize, names: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let tokens: TokenStream = text(&module.with_extension("rs")).parse().expect("Rust");
    let tokens = without_tests(tokens);
    used(&tokens, depth, names, found);
    for below in modules(&tokens) {
        read(&module.join(below), depth + 1, names, found);
    }
}

/// The modules that have files of their own, without those for tests.
fn declared(tokens: TokenStream) -> Vec<String> {
    modules(&without_tests(tokens))
}

fn modules(tokens: &[TokenTree]) -> Vec<String> {
    let names = tokens.windows(3).filter_map(|window| match window {
        [TokenTree::Ident(key), TokenTree::Ident(name), TokenTree::Punct(end)]
            if key == "mod" && end.as_char() == ';' =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    names.collect()
}

/// Without what stands behind `#[cfg(test)]` or `#[cfg(all(test, ..))]`, up to its end.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut is_left_out = false;
    for token in tokens {
        if let TokenTree::Group(group) = &token
            && group.delimiter() == Delimiter::Bracket
            && matches!(kept.last(), Some(TokenTree::Punct(hash)) if hash.as_char() == '#')
        {
            let attribute = group.stream().to_string().replace(' ', "");
            is_left_out |= attribute == "cfg(test)" || attribute.starts_with("cfg(all(test,");
        }
        let is_end = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            _ => false,
        };
        if !is_left_out {
            kept.push(token);
        }
        is_left_out &= !is_end;
    }
    kept
}

/// Adds the modules of the crate that are named by a path from its root, `crate::name` or `super::name` with as many `super` as it is
/// deep, in code and in what macros are given.
fn used(tokens: &[TokenTree], depth: usize, names: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    // How many modules below the root the path that is being read has come to; none: there is none.
    let mut place: Option<usize> = None;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                let name = name.to_string();
                place = match (name.as_str(), place) {
                    ("crate", _) => Some(0),
                    ("super", before) => before.unwrap_or(depth).checked_sub(1),
                    (_, Some(0)) => {
                        found.extend(names.get(&name).cloned());
                        None
                    }
                    _ => None,
                };
            }
            // Of `::`, which goes on with a path.
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            TokenTree::Punct(_) | TokenTree::Literal(_) => place = None,
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                if place == Some(0) && group.delimiter() == Delimiter::Brace {
                    // `crate::{one, two::Three}`: the first name of each part.
                    let parts = inside.split(|it| matches!(it, TokenTree::Punct(it) if it.as_char() == ','));
                    let firsts = parts.filter_map(|part| part.first()).map(ToString::to_string);
                    found.extend(firsts.filter(|name| names.contains(name)));
                }
                place = None;
                used(&inside, depth, names, found);
            }
        }
    }
}

/// A circle, if there is one: modules each of which needs the next, and the last the first.
fn circle(needs: &Needs) -> Option<Vec<&str>> {
    // What needs only what is in no circle is in none.
    let mut left: BTreeMap<&str, &BTreeSet<String>> =
        needs.iter().map(|(name, of)| (name.as_str(), of)).collect();
    while let Some(name) =
        left.iter().find(|(_, of)| !of.iter().any(|it| left.contains_key(it.as_str()))).map(|(name, _)| *name)
    {
        left.remove(name);
    }
    // Each that is left needs another one that is left.
    let mut way = vec![*left.keys().next()?];
    loop {
        let next = left[way[way.len() - 1]].iter().find(|it| left.contains_key(it.as_str()))?.as_str();
        if let Some(begin) = way.iter().position(|it| *it == next) {
            return Some(way.split_off(begin));
        }
        way.push(next);
    }
}

#[test]
fn modules_need_each_other_in_no_circle() {
    // That of the Raspberry Pi is one file.
    for (name, _) in MAY_NEED.into_iter().filter(|(name, _)| *name != "port-raspbian") {
        let needs = needs(&repository().join(name).join("src"));
        assert!(!needs.is_empty(), "{name}: no modules");
        if let Some(circle) = circle(&needs) {
            panic!("{name}: a circle: {} needs {}", circle.join(" needs "), circle[0]);
        }
    }
}

#[test]
fn circles_are_found_in_whatever_way_modules_are_named() {
    let names: BTreeSet<String> = ["one", "two", "three", "four"].map(str::to_owned).into();
    let of = |source: &str| {
        let tokens = without_tests(source.parse().expect("Rust"));
        let mut found = BTreeSet::new();
        used(&tokens, 1, &names, &mut found);
        found.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("use crate::one::Thing; fn f() { crate::two::g() }"), "one two");
    assert_eq!(of("use crate::{one::Thing, other, two::{self, Way}};"), "one two");
    assert_eq!(of("use super::three; fn f() { print!(\"{}\", crate::one::NAME) }"), "one three");
    assert_eq!(of("mod one; use self::two::x; use std::three; // crate::four"), "");
    assert_eq!(of("#[cfg(test)] mod tests { use crate::one; } use crate::two;"), "two");
    let first_circle = |pairs: &[(&str, &str)]| {
        let mut needs = Needs::new();
        for (one, other) in pairs {
            needs.entry((*one).to_owned()).or_default().insert((*other).to_owned());
            needs.entry((*other).to_owned()).or_default();
        }
        circle(&needs).unwrap_or_default().join(" ")
    };
    assert_eq!(first_circle(&[("one", "two"), ("two", "three"), ("one", "three")]), "");
    assert_eq!(
        first_circle(&[("four", "one"), ("one", "two"), ("two", "three"), ("three", "one")]),
        "one two three"
    );
}
