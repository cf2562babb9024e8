use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Makes files; their content is their path.
fn folder(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for file in files {
        write(dir.path(), file, file);
    }
    dir
}

fn write(root: &Path, file: &str, content: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().expect("below the root")).expect("made");
    fs::write(path, content).expect("written");
}

/// Relative paths, and errors as text.
fn found(root: &Path, rules: Rules) -> Vec<String> {
    let item = |item: Result<Entry, Error>| match item {
        Ok(entry) => entry.relative,
        Err(error) => format!("! {error}"),
    };
    walk(root, rules).map(item).collect()
}

fn found_by_default(dir: &TempDir) -> Vec<String> {
    found(dir.path(), Rules::default())
}

#[test]
fn files_are_found_in_the_order_of_their_names() {
    let dir = folder(&["b/z", "b/a/x", "a", "c", "b.txt", "B", "é/ü"]);
    let expected = ["B", "a", "b/a/x", "b/z", "b.txt", "c", "é/ü"];
    assert_eq!(found_by_default(&dir), expected);
    let entry = walk(dir.path(), Rules::default())
        .nth(2)
        .expect("a file")
        .expect("read");
    assert_eq!(entry.path, dir.path().join("b/a/x"));
    assert_eq!(entry.size, 5);
    assert_eq!(entry.inode.is_some(), cfg!(unix));
    let metadata = fs::metadata(&entry.path).expect("there");
    assert_eq!(entry.mtime_ns, mtime_ns(&metadata));
}

#[test]
fn a_single_file_is_found_under_its_name() {
    let dir = folder(&["a/.b"]);
    assert_eq!(found(&dir.path().join("a/.b"), Rules::default()), [".b"]);
    let missing = dir.path().join("c");
    let expected = format!("item={}", missing.display());
    let [error] = found(&missing, Rules::default()).try_into().expect("one");
    assert!(
        error.starts_with("! cannot be read: ") && error.ends_with(&expected),
        "{error}"
    );
}

#[test]
fn hidden_files_are_left_out_unless_wanted() {
    let dir = folder(&[".a", ".b/c", "d/.e", "f"]);
    assert_eq!(found_by_default(&dir), ["f"]);
    let rules = Rules {
        with_hidden: true,
        ..Rules::default()
    };
    assert_eq!(found(dir.path(), rules), [".a", ".b/c", "d/.e", "f"]);
}

#[test]
fn ignore_files_hold_in_their_folder_and_below() {
    let dir = folder(&[
        "a.log", "keep.log", "b/c.log", "b/d", "out/e", "b/out/f", "g/h/i", "g/j",
    ]);
    write(
        dir.path(),
        ".gitignore",
        "# about\n*.log\n!keep.log\n/out/\nh/\n",
    );
    write(dir.path(), "b/.ignore", "!c.log\nd\n");
    assert_eq!(
        found_by_default(&dir),
        ["b/c.log", "b/out/f", "g/j", "keep.log"]
    );
    let rules = Rules {
        with_ignored: true,
        ..Rules::default()
    };
    assert_eq!(found(dir.path(), rules).len(), 8);
}

#[test]
fn a_bad_ignore_file_is_told_and_the_rest_of_it_holds() {
    let dir = folder(&["a.log", "b/c", "d"]);
    write(dir.path(), ".gitignore", "*.log\n{a\nd\n");
    write(dir.path(), "b/.ignore", &"x\n".repeat(200_000));
    let found = found_by_default(&dir);
    let [first, second, third] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(
        first.starts_with("! pattern cannot be read, line=2: "),
        "{first}"
    );
    assert!(first.ends_with("item=.gitignore"), "{first}");
    assert!(
        second.starts_with("! file is too large, size=400000"),
        "{second}"
    );
    assert!(second.ends_with("item=b/.ignore"), "{second}");
    assert_eq!(third, "b/c");
}

#[test]
fn the_walk_ends_at_its_limits() {
    let dir = folder(&["a", "b/c/d", "b/e", "f"]);
    let rules = |depth_max, entries_max| Rules {
        depth_max,
        entries_max,
        ..Rules::default()
    };
    assert_eq!(found(dir.path(), rules(2, 6)), ["a", "b/c/d", "b/e", "f"]);
    assert_eq!(
        found(dir.path(), rules(1, 6)),
        ["a", "! folders are too deep, limit=1, item=b/c", "b/e", "f"]
    );
    assert_eq!(
        found(dir.path(), rules(2, 5)),
        [
            "a",
            "! too many files, the rest of the folder is not looked at, limit=5, item=b/c"
        ]
    );
    let is_cut_short = |rules| {
        let mut walk = walk(dir.path(), rules);
        while walk.next().is_some() {}
        walk.is_cut_short()
    };
    assert!(is_cut_short(rules(2, 5)));
    assert!(!is_cut_short(rules(2, 6)));
    assert!(!is_cut_short(rules(1, 6)), "a folder too deep is left out");
}

#[cfg(unix)]
mod on_unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    const FOLLOW: Rules = Rules {
        with_hidden: false,
        with_ignored: false,
        follow_links: true,
        depth_max: 100,
        entries_max: 1_000,
    };

    #[test]
    fn links_are_not_followed_unless_wanted() {
        let outside = folder(&["x", "y/z"]);
        let dir = folder(&["a"]);
        symlink(outside.path(), dir.path().join("dir")).expect("linked");
        symlink(outside.path().join("x"), dir.path().join("file")).expect("linked");
        assert_eq!(
            found_by_default(&dir),
            [
                "a",
                "! links are not followed, item=dir",
                "! links are not followed, item=file"
            ]
        );
        assert_eq!(found(dir.path(), FOLLOW), ["a", "dir/x", "dir/y/z", "file"]);
        let root = dir.path().join("dir");
        assert_eq!(
            found(&root, Rules::default()),
            ["x", "y/z"],
            "the root may be a link"
        );
    }

    #[test]
    fn links_in_a_circle_are_told() {
        let dir = folder(&["a/b/c"]);
        let link = |target: &str, link: &str| {
            symlink(target, dir.path().join(link)).expect("linked");
        };
        link("..", "a/b/up");
        link("../../..", "a/b/out");
        link("self", "self");
        link("two", "one");
        link("one", "two");
        link("a", "z");
        link("none", "nowhere");
        let inside = "link leads to what is found without it";
        assert_eq!(
            found(dir.path(), FOLLOW),
            [
                "a/b/c",
                "! links lead in a circle, item=a/b/out",
                &format!("! {inside}, item=a/b/up"),
                "! link leads nowhere, item=nowhere",
                "! links lead in a circle, item=one",
                "! links lead in a circle, item=self",
                "! links lead in a circle, item=two",
                &format!("! {inside}, item=z"),
            ]
        );
        assert_eq!(found(dir.path(), Rules::default()).len(), 8);
    }

    #[test]
    fn a_circle_outside_is_walked_once() {
        let outside = folder(&["p/x", "q/y"]);
        symlink("../q", outside.path().join("p/to_q")).expect("linked");
        symlink("../p", outside.path().join("q/to_p")).expect("linked");
        let dir = folder(&[]);
        symlink(outside.path(), dir.path().join("o")).expect("linked");
        symlink(outside.path().join("p"), dir.path().join("p")).expect("linked");
        assert_eq!(
            found(dir.path(), FOLLOW),
            [
                "! folder was read already, item=o/p/to_q/to_p",
                "o/p/to_q/y",
                "o/p/x",
                "! folder was read already, item=o/q",
                "! folder was read already, item=p",
            ]
        );
    }

    #[test]
    fn pipes_and_sockets_are_passed_by() {
        let dir = folder(&["z"]);
        mkfifoat(CWD, dir.path().join("pipe"), Mode::RUSR).expect("made");
        // As an ignore file it would be opened.
        mkfifoat(CWD, dir.path().join(".gitignore"), Mode::RUSR).expect("made");
        let _socket = UnixListener::bind(dir.path().join("socket")).expect("bound");
        let special = "not a file but a pipe, socket or device";
        assert_eq!(
            found_by_default(&dir),
            [
                &format!("! {special}, item=.gitignore"),
                &format!("! {special}, item=pipe"),
                &format!("! {special}, item=socket"),
                "z",
            ]
        );
    }

    #[test]
    fn names_that_are_not_unicode_are_told() {
        let dir = folder(&["a"]);
        let name = OsStr::from_bytes(b"caf\xe9");
        fs::write(dir.path().join(name), "x").expect("written");
        assert_eq!(
            found_by_default(&dir),
            ["a", "! name is not valid Unicode, item=caf\u{fffd}"]
        );
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_told() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = folder(&["a/b", "c"]);
        let closed = dir.path().join("a");
        let close = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode));
        close(0o000).expect("closed");
        let found = found_by_default(&dir);
        close(0o700).expect("opened");
        // The superuser may read it all the same.
        let [first, second] = found.as_slice() else {
            panic!("{found:?}");
        };
        let is_told = first.starts_with("! cannot be read: ") && first.ends_with("item=a");
        assert!(is_told || first == "a/b", "{first}");
        assert_eq!(second, "c");
    }
}
