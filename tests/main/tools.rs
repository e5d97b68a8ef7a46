//! Others' real programs, where they are to be had: the operator, cert-manager.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder with the tools, if this one is there (`FOLDER/TOOL.xz`); or a loud word that it isn't.
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
pub(crate) fn folder_with(tool: &str) -> Option<PathBuf> {
    let tools = xtask::tool::real_neighbours();
    if tools.join(format!("{tool}.xz")).exists() {
        return Some(tools);
    }
    let complaint = format!("NOT RUN: set METAL3_TOOLS to a folder with {tool}.xz and its crds/");
    assert!(
        std::env::var_os("REQUIRE_METAL3_TOOLS").is_none(),
        "{complaint}"
    );
    eprintln!("{complaint}");
    None
}

/// Among what cargo keeps for tests: nothing is left behind elsewhere.
pub(crate) fn unpack(tools: &Path, tool: &str) -> PathBuf {
    let packed = tools.join(format!("{tool}.xz"));
    let unpacked = Command::new("xz").arg("-dc").arg(&packed).output().unwrap();
    assert!(unpacked.status.success());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join(Path::new(tool).file_name().unwrap());
    // One that runs can't be written over, but another can take its name.
    let new = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::fs::write(&new, unpacked.stdout).unwrap();
    std::fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    new.into_temp_path().persist(&program).unwrap();
    program
}
