//! The block `mtls` of files of the existing AuthBridge: disabled, or with the files of the identity.

use crate::config::tree::{member, take, text_of};
use countersign_api::yaml::{Diagnostic, MemberKey, YamlNode, YamlValue};
use countersign_core::text::Quoted;

/// Keys of `mtls` in old files, and what the files are called that spiffe-helper writes.
const MTLS_FILES: [(&str, &str); 3] =
    [("cert_file", "svid.pem"), ("key_file", "svid_key.pem"), ("bundle_file", "svid_bundle.pem")];

/// Takes out a block that is disabled, and the keys that name files; a notice for each.
pub(super) fn ease(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    take_disabled(root, notices);
    take_files(root, notices);
}

/// Takes out a block whose mode is `disabled`. One with rules of this program stays, and is refused: it means to be on.
fn take_disabled(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let Some(YamlNode { value: YamlValue::Map(members), .. }) = member(root, "mtls") else { return };
    let Some((mode, _)) = members.iter().find(|(key, _)| key.name == "mode") else { return };
    let place = mode.place;
    let is_old = |(key, _): &(MemberKey, YamlNode)| {
        key.name == "mode" || MTLS_FILES.iter().any(|(name, _)| *name == key.name)
    };
    let is_disabled = member(root, "mtls").and_then(|mtls| text_of(mtls, "mode")) == Some("disabled");
    if is_disabled && members.iter().all(is_old) {
        let problem =
            "disabled means that there is no mTLS: the block is passed over; take it out".to_owned();
        notices.push(Diagnostic { place, key: "mtls.mode".to_owned(), problem });
        take(root, "mtls");
    }
}

/// Takes out the keys under which `mtls` had the files of the identity. Without a block `spiffe` they become one that reads
/// those files, if they are a set as spiffe-helper writes it; any other set is left to the check of `mtls`.
fn take_files(root: &mut YamlNode, notices: &mut Vec<Diagnostic>) {
    let YamlValue::Map(blocks) = &mut root.value else { return };
    let has_source = blocks.iter().any(|(key, _)| key.name == "spiffe");
    let Some((block, mtls)) = blocks.iter_mut().find(|(key, _)| key.name == "mtls") else { return };
    let YamlValue::Map(members) = &mut mtls.value else { return };
    let place = block.place;
    let (files, rest): (Vec<_>, Vec<_>) = std::mem::take(members)
        .into_iter()
        .partition(|(key, _)| MTLS_FILES.iter().any(|(name, _)| *name == key.name));
    *members = rest;
    let folder = MTLS_FILES
        .iter()
        .map(|(key, name)| folder_of(&files, key, name))
        .reduce(|one, other| if one == other { one } else { None });
    let folder = folder.flatten().filter(|_| !has_source);
    let what = match &folder {
        Some(folder) => {
            let folder = Quoted(folder);
            format!(
                "the identity is read from {folder}; write `spiffe: {{files_dir: {folder}}}` instead of this key"
            )
        }
        None if has_source => {
            "it is passed over, because the block `spiffe` says where identities come from; take it out, or write \
             `spiffe.files_dir` for files"
                .to_owned()
        }
        None => "it is passed over; set `spiffe.files_dir` to a folder with svid.pem, svid_key.pem and svid_bundle.pem"
            .to_owned(),
    };
    for (key, _) in &files {
        notices.push(Diagnostic {
            place: key.place,
            key: format!("mtls.{}", key.name),
            problem: what.clone(),
        });
    }
    if let Some(folder) = folder {
        let member =
            |name: &str, value| (MemberKey { name: name.to_owned(), place }, YamlNode { value, place });
        let files_dir = member("files_dir", YamlValue::Text(folder));
        blocks.push(member("spiffe", YamlValue::Map(vec![files_dir])));
    }
}

/// Folder of the file that stands under `key`, if it has the usual `name`.
fn folder_of(files: &[(MemberKey, YamlNode)], key: &str, name: &str) -> Option<String> {
    let (_, node) = files.iter().find(|(found, _)| found.name == key)?;
    let YamlValue::Text(path) = &node.value else { return None };
    let folder = path.strip_suffix(name)?.strip_suffix('/')?;
    (!folder.is_empty()).then(|| folder.to_owned())
}
