//! What counts depend on besides the code: if it is another one, they can't be compared.

use std::fs;
use std::process::Command;

/// Compiler, processor, C library and valgrind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) parts: [(&'static str, String); 4],
}

/// Names of the parts, as in the record.
pub(crate) const PARTS: [&str; 4] = ["compiler", "processor", "libc", "valgrind"];

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// In words, if nothing can be counted here.
    pub(crate) fn find() -> Result<Self, String> {
        let valgrind = said("valgrind", &["--version"]).ok_or("valgrind is missing: install it")?;
        let libc = said("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(|| "unknown".to_owned());
        let [compiler_name, processor_name, libc_name, valgrind_name] = PARTS;
        let compiler = env!("GUARD_COMPILER").to_owned();
        let parts = [
            (compiler_name, compiler),
            (processor_name, processor()),
            (libc_name, libc),
            (valgrind_name, valgrind),
        ];
        Ok(Self { parts })
    }

    /// Why counts of `other` can't be compared with those of this one; none if they can.
    pub(crate) fn differs_from(&self, other: &Self) -> Option<String> {
        let pairs = self.parts.iter().zip(&other.parts);
        let (own, others) = pairs.into_iter().find(|(own, others)| own != others)?;
        Some(format!(
            "the record was made with {} {:?}, here it is {:?}; `just bench-guard --record` makes one",
            own.0, own.1, others.1
        ))
    }
}

/// Valgrind shows each processor of an architecture as the same one, as far as it has these instructions: the C
/// library and checksums choose theirs by them.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let has = |wanted: &&str| flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == *wanted));
    let chosen: Vec<&str> = ["sse4_2", "avx2", "crc32"].into_iter().filter(has).collect();
    format!("{} {}", std::env::consts::ARCH, chosen.join(" ")).trim().to_owned()
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
