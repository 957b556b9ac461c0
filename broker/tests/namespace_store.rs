//! The folder of the namespaces by itself: names, files, rights, and what must not be followed.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use natsune_broker::namespaces::{NamespaceError, Namespaces};
use natsune_credentials::jwt::{self, Claims};
use natsune_credentials::{Creds, KeyKind};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{path:?}");
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_life_of_a_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let namespaces = Namespaces::open(dir.path().join("a/b")).unwrap();
    let shop = namespaces.create_namespace("shop").unwrap();
    let blog = namespaces.create_namespace("blog").unwrap();
    assert_eq!(KeyKind::of(&shop.id), Some(KeyKind::Account));
    assert!(
        matches!(namespaces.create_namespace("shop"), Err(NamespaceError::AlreadyExists(what)) if what == "namespace \"shop\"")
    );
    let (info, text) = namespaces.create_credentials("shop", "api").unwrap();
    let creds = Creds::parse(text.expose()).unwrap();
    assert_eq!(
        (creds.key.public_key(), info.namespace.as_str(), &info.namespace_id),
        (info.public_key.clone(), "shop", &shop.id)
    );
    assert!(matches!(namespaces.create_credentials("shop", "api"), Err(NamespaceError::AlreadyExists(_))));
    namespaces.create_credentials("blog", "api").unwrap();
    let Claims::User(user) = jwt::decode(&creds.jwt).unwrap() else { panic!() };
    assert_eq!((user.claims.name.as_str(), user.nats.issuer_account.as_str()), ("api", shop.id.as_str()));
    assert!(user.claims.exp == 0 && user.nats.rights == natsune_credentials::jwt::UserRights::unlimited());

    // Another one over the same folder sees the same.
    let again = Namespaces::open(dir.path().join("a/b")).unwrap();
    assert_eq!(again.list_namespaces().unwrap(), [shop.clone(), blog.clone()]);
    assert_eq!(again.list_credentials(Some("shop")).unwrap(), std::slice::from_ref(&info));
    assert_eq!(again.list_credentials(None).unwrap().len(), 2);
    assert_eq!(again.delete_credentials(&shop.id, &info.public_key).unwrap(), info);
    assert!(matches!(namespaces.delete_credentials("shop", "api"), Err(NamespaceError::NotFound(_))));
    assert!(namespaces.list_credentials(Some("shop")).unwrap().is_empty());
    // The name is free, the key is new.
    let (new, _) = namespaces.create_credentials("shop", "api").unwrap();
    assert_ne!(new.public_key, info.public_key);
    assert_eq!(namespaces.delete_namespace("shop").unwrap(), shop);
    assert!(matches!(namespaces.delete_namespace("shop"), Err(NamespaceError::NotFound(_))));
    assert!(matches!(namespaces.create_credentials("shop", "api"), Err(NamespaceError::NotFound(_))));
    assert_eq!(namespaces.list_namespaces().unwrap(), [blog]);
}

#[test]
fn files_are_private_and_hold_no_seed_of_a_user() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let namespaces = Namespaces::open(&path).unwrap();
    namespaces.create_namespace("shop").unwrap();
    let (_, text) = namespaces.create_credentials("shop", "api").unwrap();
    let seed = text.expose().lines().find(|line| line.starts_with("SU")).unwrap().to_owned();
    assert_eq!(mode(&path), 0o700);
    let all = files(&path);
    assert!(all.len() >= 4, "{all:?}");
    for file in all {
        assert_eq!(mode(&file), 0o600, "{file:?}");
        assert!(!std::fs::read_to_string(&file).unwrap().contains(&seed), "{file:?}");
    }
    assert!(!format!("{namespaces:?} {text:?}").contains(&seed));
}

#[test]
fn names_and_ids_cannot_lead_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let namespaces = Namespaces::open(dir.path().join("ns")).unwrap();
    namespaces.create_namespace("shop").unwrap();
    for name in ["", "..", "../x", "a/b", "a\0b", ".hidden", "x\n"] {
        assert!(matches!(namespaces.create_namespace(name), Err(NamespaceError::InvalidName(_))), "{name:?}");
        assert!(matches!(namespaces.create_credentials("shop", name), Err(NamespaceError::InvalidName(_))), "{name:?}");
        assert!(matches!(namespaces.delete_namespace(name), Err(NamespaceError::NotFound(_))), "{name:?}");
    }
}

#[test]
fn links_and_open_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let namespaces = Namespaces::open(&path).unwrap();
    let shop = namespaces.create_namespace("shop").unwrap();
    let file = path.join("namespaces").join(format!("{}.json", shop.id));

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    // The cache knows the file by its mark, which rights are no part of: a fresh look is needed.
    let error = Namespaces::open(&path).unwrap().list_namespaces().unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let elsewhere = dir.path().join("elsewhere.json");
    std::fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    let error = Namespaces::open(&path).unwrap().list_namespaces().unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    std::fs::remove_file(&file).unwrap();

    // A link in the place of a file that is being written is replaced, not followed.
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    symlink(&victim, path.join(".new-generation")).unwrap();
    namespaces.create_namespace("more").unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(!std::fs::symlink_metadata(path.join("generation")).unwrap().is_symlink());

    std::fs::remove_file(path.join("lock")).unwrap();
    symlink(&victim, path.join("lock")).unwrap();
    assert!(matches!(namespaces.create_namespace("third"), Err(NamespaceError::Unsafe(..))));
}

#[test]
fn an_open_folder_is_closed_and_a_strange_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    Namespaces::open(&open).unwrap();
    assert_eq!(mode(&open), 0o700);
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(Namespaces::open(dir.path().join("file")).is_err());
}

#[test]
fn a_folder_with_other_things_is_not_taken_from_its_users() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("of-others"), "").unwrap();
    for open in [0o755, 0o1777] {
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(open)).unwrap();
        let error = Namespaces::open(&shared).unwrap_err();
        assert!(matches!(error, NamespaceError::Unsafe(..)) && error.to_string().contains("other things"), "{error}");
        assert_eq!(mode(&shared) & 0o777, open & 0o777);
        assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 1, "nothing is made in it");
    }
    // A volume of its own is no folder of others, and neither is the broker's own, with a store or with namespaces.
    std::fs::remove_file(shared.join("of-others")).unwrap();
    for own in ["lost+found", "jetstream"] {
        std::fs::create_dir(shared.join(own)).unwrap();
    }
    Namespaces::open(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o755)).unwrap();
    Namespaces::open(&shared).unwrap();
    assert_eq!(mode(&shared), 0o700);
}

#[test]
fn a_deletion_cut_short_is_a_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let namespaces = Namespaces::open(&path).unwrap();
    let shop = namespaces.create_namespace("shop").unwrap();
    namespaces.create_credentials("shop", "api").unwrap();
    // As a crash between its two steps leaves the folder.
    std::fs::write(path.join("deleted").join(&shop.id), "shop").unwrap();
    assert!(namespaces.list_namespaces().unwrap().is_empty() && namespaces.list_credentials(None).unwrap().is_empty());
    assert!(matches!(namespaces.create_credentials("shop", "web"), Err(NamespaceError::NotFound(_))));
    let again = namespaces.create_namespace("shop").unwrap();
    assert_ne!(again.id, shop.id);
    assert_eq!(namespaces.list_namespaces().unwrap(), [again]);
}

#[test]
fn damage_is_told_by_place_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let namespaces = Namespaces::open(&path).unwrap();
    let shop = namespaces.create_namespace("shop").unwrap();
    let file = path.join("namespaces").join(format!("{}.json", shop.id));
    let text = std::fs::read_to_string(&file).unwrap();
    let seed = text.split('"').find(|word| word.starts_with("SA")).unwrap();
    for (damaged, why) in [
        (text[..text.len() / 2].to_owned(), "cut off"),
        (text.replace("\"version\": 1", "\"version\": 2"), "newer version"),
        (text.replace("\"signing_key\": \"SA", "\"signing_key\": [\"canary"), "not what is expected"),
        (text.replace(&shop.id, "ACANARY"), "another namespace"),
        (String::new(), "cut off"),
        ("\0".repeat(100), "not JSON"),
    ] {
        std::fs::write(&file, &damaged).unwrap();
        let error = Namespaces::open(&path).unwrap().list_namespaces().unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
        assert!(!error.to_lowercase().contains("canary") && !error.contains(seed), "{error}");
    }
    std::fs::write(&file, &text).unwrap();
    assert_eq!(namespaces.list_namespaces().unwrap().len(), 1);
    // Without its operator the folder is useless, and a new one would disown every namespace.
    std::fs::write(path.join("operator.json"), "{").unwrap();
    assert!(matches!(Namespaces::open(&path), Err(NamespaceError::Damaged(..))));
    std::fs::remove_file(path.join("operator.json")).unwrap();
    let error = Namespaces::open(&path).unwrap_err();
    assert!(error.to_string().contains("operator.json: damaged: it is gone"), "{error}");
    assert!(!path.join("operator.json").exists());
}
