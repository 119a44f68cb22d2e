//! Running the binary in a folder of its own.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// The published schema of the JSON results.
static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../schemas/report.schema.json")).expect("JSON");
    jsonschema::draft202012::new(&schema).expect("a schema")
});

/// What came out of one run.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code and not a signal"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// Exit code 2, nothing on standard output, and one line that says `says`.
    #[track_caller]
    pub(crate) fn assert_unusable(&self, says: &str) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: ") && self.stderr.contains(says), "{}", self.stderr);
        assert_eq!(self.stderr.matches('\n').count(), 1, "{}", self.stderr);
    }

    /// The JSON results on standard output, each of which has the published form.
    #[track_caller]
    pub(crate) fn reports(&self) -> Vec<Value> {
        let reports: Vec<Value> = serde_json::Deserializer::from_str(&self.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr));
        for report in &reports {
            let problems: Vec<String> =
                SCHEMA.iter_errors(report).map(|problem| problem.to_string()).collect();
            assert!(problems.is_empty(), "{problems:?}: {report:#}");
        }
        reports
    }

    /// The one JSON result.
    #[track_caller]
    fn report(&self) -> Value {
        let mut reports = self.reports();
        assert_eq!(reports.len(), 1, "{}", self.stdout);
        reports.remove(0)
    }

    /// Exit code 1 and a JSON verdict with this reason.
    #[track_caller]
    pub(crate) fn assert_refused(&self, reason: &str) {
        assert_eq!(self.code, 1, "{}{}", self.stdout, self.stderr);
        let json = self.report();
        assert_eq!(
            (json["verdict"].as_str(), json["reason"].as_str()),
            (Some("refused"), Some(reason)),
            "{json}"
        );
    }

    /// Exit code 0 and a JSON verdict.
    #[track_caller]
    pub(crate) fn assert_verified(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        let json = self.report();
        assert_eq!(json["verdict"], "verified");
        json
    }

    /// Every line fits, and nothing but text is in them.
    #[track_caller]
    pub(crate) fn assert_plain_80_columns(&self) {
        for line in self.stdout.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
            assert!(!line.contains('\u{1b}'), "{line}");
        }
    }
}

/// The binary, without the environment of whoever runs the tests.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.env_clear();
    command
}

/// A folder that belongs to one test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), content).expect("a file");
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads what it wrote")]
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("a file")
    }

    /// The names of the files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs the binary here.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(binary().args(arguments).current_dir(&self.0).output().expect("a run"))
    }

    /// Runs the binary here with environment variables.
    #[track_caller]
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
        let mut command = binary();
        command.envs(variables.iter().copied()).args(arguments).current_dir(&self.0);
        Run::of(command.output().expect("a run"))
    }

    /// First line with `word` on standard error of a command that does not end by itself.
    pub(crate) fn first_line_with(&self, word: &str, arguments: &[&str]) -> String {
        let mut command = binary();
        command.args(arguments).current_dir(&self.0).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a run");
        let lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let found = lines.map(|line| line.expect("text")).find(|line| line.contains(word));
        child.kill().expect("a run that lasts");
        child.wait().expect("an end");
        found.expect("such a line")
    }

    /// Runs the binary here with something on standard input.
    #[track_caller]
    pub(crate) fn run_fed(&self, input: &[u8], arguments: &[&str]) -> Run {
        let mut command = binary();
        command.args(arguments).current_dir(&self.0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a run");
        child.stdin.take().expect("standard input").write_all(input).expect("a reader");
        Run::of(child.wait_with_output().expect("a run"))
    }
}
