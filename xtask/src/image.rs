//! `cargo xtask image`: builds the image that the Deployment runs, says how large it is, and
//! plays the demo's story with it as a kubelet would run it.
//!
//! Needs root, buildah, util-linux, and mmdebstrap (Debian's packages of these names; the last unless a
//! builder is named), and Rust's standard library for musl. Not part of CI: a build that shares nothing with the
//! others, and optimises the whole program at once, takes minutes there.

mod trial;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use xtask::tool::{self, say};

use self::trial::Sandbox;

/// Build the image, and try it on a real etcd and kube-apiserver
#[derive(Args)]
pub(crate) struct Image {
    /// An image with this Rust, to build in [default: made of Debian's packages, around this
    /// machine's Rust]
    #[arg(long, value_name = "IMAGE")]
    builder: Option<String>,

    /// The image beneath the program
    #[arg(long, value_name = "IMAGE", default_value = "scratch")]
    base: String,

    /// What it is called
    #[arg(long, value_name = "NAME", default_value = TAG)]
    tag: String,

    /// Build it again, without what the first build left, and compare
    #[arg(long)]
    twice: bool,
}

impl Image {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        tool::require(&["buildah", "setpriv", "unshare"])?;
        let folder = tool::root().join("target/image");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let builder = match &self.builder {
            Some(builder) => Builder::Named(builder.clone()),
            None => Builder::of_this_machine(&folder)?,
        };
        let id = self.build(&builder, "/src/target")?;
        if self.twice {
            // Elsewhere, so that nothing compiled is there, and no path can stand in it unseen.
            let again = self.build(&builder, "/elsewhere")?;
            if again != id {
                bail!("it isn't reproducible: {id} became {again}");
            }
            say(&format!("Built twice, byte by byte the same: {id}"));
        }
        let container = Container::of(&self.tag)?;
        container.measure(&folder, &self.tag)?;
        let sandbox = Sandbox::new(&folder, &container)?;
        trial::run(&sandbox)
    }

    /// Its id: the hash of all that it is.
    fn build(&self, builder: &Builder, target: &str) -> anyhow::Result<String> {
        say(&format!("Building {} ...", self.tag));
        let started = Instant::now();
        let id = tool::root().join("target/image/id");
        let mut build = buildah("build");
        // No time of day in it; and no network, if all is here.
        build.args(["--timestamp", "0", "--network", "host"]);
        build.args(["--build-arg", &format!("BASE={}", self.base)]);
        build.args(["--build-arg", &format!("TARGET_DIR={target}")]);
        builder.tell(&mut build);
        build.arg("--iidfile").arg(&id).args(["--tag", &self.tag]);
        patiently(build.arg(tool::root()))?;
        let id = fs::read_to_string(&id).with_context(|| id.display().to_string())?;
        let seconds = started.elapsed().as_secs();
        say(&format!("{}: built in {seconds} s: {id}", self.tag));
        Ok(id)
    }
}

/// Runs what may say nothing for minutes, and says that it isn't stuck.
fn patiently(command: &mut Command) -> anyhow::Result<()> {
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let started = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(60)) {
                let seconds = started.elapsed().as_secs();
                say(&format!("... still at it after {seconds} s"));
            }
        });
        let ran = tool::run(command);
        drop(end);
        ran
    })
}

/// What it is built in.
enum Builder {
    Named(String),
    OfThisMachine { rust: PathBuf, registry: PathBuf },
}

impl Builder {
    /// A C compiler from Debian's packages; Rust and what cargo has downloaded are bound into
    /// it, so that a machine without a registry of images builds the same.
    fn of_this_machine(folder: &Path) -> anyhow::Result<Self> {
        let mut rustc = Command::new("rustc");
        let rust = tool::read(rustc.args(["--print", "sysroot"]).current_dir(tool::root()))?;
        let rust = PathBuf::from(rust.trim());
        let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
        if !rust.join("lib/rustlib").join(&target).exists() {
            bail!("Rust's standard library for musl is needed: rustup target add {target}");
        }
        tool::run(tool::cargo().args(["fetch", "--locked"]))?;
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
        let builder = Self::OfThisMachine {
            rust,
            registry: home.context("no folder of cargo's")?.join("registry"),
        };
        let mut found = buildah("inspect");
        found.args(["--type", "image", OWN_BUILDER]);
        if tool::read(&mut found).is_ok() {
            return Ok(builder);
        }
        tool::require(&["mmdebstrap"])?;
        say("Making an image with a C compiler of Debian's packages ...");
        let archive = folder.join("builder.tar");
        let mut debian = Command::new("mmdebstrap");
        debian.args([
            "--quiet",
            "--variant=apt",
            "--include=ca-certificates,gcc,libc6-dev,musl-tools",
            "bookworm",
        ]);
        tool::run(debian.arg(&archive))?;
        let recipe = folder.join("builder");
        fs::write(&recipe, BUILDER)?;
        let mut build = buildah("build");
        build.args(["--quiet", "--tag", OWN_BUILDER, "--file"]);
        let made = tool::read(build.arg(&recipe).arg(folder));
        fs::remove_file(&archive)?;
        made?;
        Ok(builder)
    }

    fn tell(&self, build: &mut Command) {
        let image = match self {
            Self::Named(image) => image,
            Self::OfThisMachine { rust, registry } => {
                build.args(["--volume", &format!("{}:/rust:ro", rust.display())]);
                let registry = format!("{}:/cargo/registry", registry.display());
                build.args(["--volume", &registry]);
                OWN_BUILDER
            }
        };
        build.args(["--build-arg", &format!("BUILDER={image}")]);
    }
}

/// The image's files, mounted; gone when it is dropped.
struct Container {
    name: String,
    root: PathBuf,
    user: String,
    entry: String,
}

impl Container {
    fn of(tag: &str) -> anyhow::Result<Self> {
        let mut inspect = buildah("inspect");
        let said = tool::read(inspect.args(["--type", "image", tag]))?;
        let said: Value = serde_json::from_str(&said)?;
        let config = &said["OCIv1"]["config"];
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let user = word(&config["User"]).context("the image names no user")?;
        let entry = word(&config["Entrypoint"][0]).context("the image has no entry point")?;
        let mut from = buildah("from");
        let name = tool::read(from.args(["--pull-never", tag]))?;
        let mut container = Self {
            name: name.trim().to_owned(),
            root: PathBuf::new(),
            user,
            entry,
        };
        let root = tool::read(buildah("mount").arg(&container.name))?;
        container.root = PathBuf::from(root.trim());
        Ok(container)
    }

    fn program(&self) -> PathBuf {
        self.root.join(self.entry.trim_start_matches('/'))
    }

    fn measure(&self, folder: &Path, tag: &str) -> anyhow::Result<()> {
        let archive = folder.join("harbormaster.tar");
        let _ = fs::remove_file(&archive);
        let to = format!("oci-archive:{}", archive.display());
        tool::read(buildah("push").args(["--quiet", tag, &to]))?;
        let program = fs::metadata(self.program())?.len();
        let pulled = fs::metadata(&archive)?.len();
        say(&format!(
            "program {}, image as it is pulled {} ({})",
            mebibytes(program),
            mebibytes(pulled),
            archive.display()
        ));
        if pulled > LARGEST {
            bail!("an image of more than {}", mebibytes(LARGEST));
        }
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // What is left of it is harmless, and `buildah rm` says why.
        let _ = tool::read(buildah("rm").arg(&self.name));
    }
}

fn buildah(verb: &str) -> Command {
    let mut command = Command::new("buildah");
    command.arg(verb);
    // Works where a machine's cgroups are none that crun knows, and in containers.
    if std::env::var_os("BUILDAH_ISOLATION").is_none() {
        command.env("BUILDAH_ISOLATION", "chroot");
    }
    command
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// What the Deployment asks for.
const TAG: &str = concat!("harbormaster:", env!("CARGO_PKG_VERSION"));

const OWN_BUILDER: &str = "localhost/harbormaster-builder:bookworm";

const BUILDER: &str = "FROM scratch
ADD builder.tar /
ENV PATH=/rust/bin:/usr/bin:/bin CARGO_HOME=/cargo CARGO_NET_OFFLINE=true
";

/// A node that pulls it anew while hosts are held waits for every byte.
const LARGEST: u64 = 15 << 20;
