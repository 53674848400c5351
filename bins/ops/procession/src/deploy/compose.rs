//! `process-compose.yaml`: the swarm in development.

use std::fmt::Write as _;

use anyhow::Result;

use super::GENERATED;
use super::swarm::{Process, Swarm, quoted};

/// Where the programs are: in the build's folder unless the caller says otherwise.
const PROGRAMS: &str = "${PROCESSION_BIN_DIR:-./target/release}";

const LOG: &str = "PROCESSION_PROCESS__LOG__FORMAT";

/// What holds for every process. A failed probe counts from the start on, and the last of
/// `failure_threshold` in a row makes process-compose restart the process: after 30 s, as systemd's
/// watchdog does. So the probe doesn't fail for a process that waits for others.
const SUPERVISION: &str = "      initial_delay_seconds: 1
      period_seconds: 5
      timeout_seconds: 5
      failure_threshold: 6
    availability:
      restart: always
      backoff_seconds: 1
    shutdown:
      signal: 15
      timeout_seconds: 15
";

/// The whole file.
///
/// No process depends on another one: the order in which they start never matters.
pub(crate) fn file(swarm: &Swarm) -> Result<String> {
    let mut text = format!(
        "{GENERATED}\
         #\n\
         # `process-compose up` starts the swarm, `process-compose up -n hive` one context. The programs\n\
         # are taken from target/release, or from PROCESSION_BIN_DIR.\n\
         version: \"0.5\"\n\
         is_strict: true\n\
         shell:\n  shell_command: sh\n  shell_argument: -c\n\
         environment:\n  # Their standard error is a pipe here: without this they would log JSON.\n  \
         - \"{LOG}=${{{LOG}:-human}}\"\n\
         processes:\n"
    );
    for process in &swarm.processes {
        for instance in process.instances() {
            text.push_str(&entry(process, &instance)?);
        }
    }
    Ok(text)
}

fn entry(process: &Process, instance: &str) -> Result<String> {
    let mut command = vec![quoted(&format!("{PROGRAMS}/{}", process.name))?, quoted("run")?];
    if instance != process.name {
        command.extend([quoted("--instance")?, quoted(instance)?]);
    }
    let mut text = String::new();
    writeln!(text, "  {}:", quoted_key(instance)?)?;
    writeln!(text, "    namespace: {}", process.context)?;
    writeln!(text, "    description: {}", quoted(&process.description.replace('$', "$$"))?)?;
    writeln!(text, "    entrypoint: [{}]", command.join(", "))?;
    writeln!(text, "    readiness_probe:\n      exec:")?;
    // Where the programs are, or wherever it is installed.
    writeln!(text, "        command: 'PATH=\"{PROGRAMS}:$PATH\" procession health --probe {instance}'")?;
    text.push_str(SUPERVISION);
    Ok(text)
}

/// A YAML key: `worker@1` would be a plain one too, but not every reader knows.
fn quoted_key(name: &str) -> Result<String> {
    if name.contains('@') { quoted(name) } else { Ok(name.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose(process: &str) -> String {
        let head = "[[process]]\nname = 'worker'\ncontext = 'scores'\nnetwork = 'local'\n";
        file(&Swarm::parse(&format!("{head}{process}")).unwrap()).unwrap()
    }

    #[test]
    fn instances_have_entries_of_their_own() {
        let text = compose("description = 'Works'\ninstances = 2");
        for n in 1..=2 {
            assert!(text.contains(&format!("  \"worker@{n}\":\n    namespace: scores\n")), "{text}");
            let arguments = format!(r#"/worker", "run", "--instance", "worker@{n}"]"#);
            assert!(text.contains(&arguments), "{text}");
            assert!(text.contains(&format!(":$PATH\" procession health --probe worker@{n}'")), "{text}");
        }
    }

    #[test]
    fn a_description_is_taken_literally() {
        let text = compose("description = 'Costs $5: \"much\"'");
        assert!(text.contains(r#"    description: "Costs $$5: \"much\"""#), "{text}");
    }
}
