//! `deploy/systemd/`, `sysusers.d` and `tmpfiles.d`: the swarm in production.

use std::fmt::Write as _;

use anyhow::Result;

use super::GENERATED;
use super::swarm::{Network, Process, Swarm};

/// Pulls all processes up, and takes them down.
pub(crate) const TARGET: &str = "procession.target";

/// What holds for every process, whatever it needs of the network.
///
/// Left out on purpose:
/// - `PrivateUsers`, under which each peer on a local socket would be user 65534;
/// - `DynamicUser`, whose folders the other processes couldn't read;
/// - `ProcSubset=pid`, which hides the kernel's boot id, by which a journal's reader knows whether what is
///   committed but not yet durable can be trusted.
const SANDBOX: &str = "\
# Sandbox. Other processes' journals can be read, and only their sockets' folder written.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths=/run/procession
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateIPC=yes
RemoveIPC=yes
KeyringMode=private
ProtectProc=invisible
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
";

/// The name of a process's unit.
pub(crate) fn unit_name(process: &Process) -> String {
    let at = if process.instances.is_some() { "@" } else { "" };
    format!("procession-{}{at}.service", process.name)
}

/// A process's unit.
pub(crate) fn unit(process: &Process) -> Result<String> {
    let Process { name, memory, .. } = process;
    let (instance, flag) = match process.instances {
        None => (name.clone(), String::new()),
        Some(_) => (format!("{name}@%i"), format!(" --instance {name}@%i")),
    };
    let description = process.description.replace('%', "%%");
    let user = process.user();
    let mut text = format!(
        "{GENERATED}[Unit]\n\
         Description=Procession {instance}: {description}\n\
         PartOf={TARGET}\n\
         # A process that keeps failing is restarted for ever: what it waits for may come back.\n\
         StartLimitIntervalSec=0\n"
    );
    if process.network != Network::Local {
        // Not network-online: it copes with a network that comes and goes, but should say its last words.
        text.push_str("After=network.target\n");
    }
    write!(
        text,
        "\n[Service]\n\
         Type=notify\n\
         ExecStart=/usr/bin/{name} run{flag}\n\
         User={user}\n\
         Group=procession\n\
         UMask=0027\n\
         Environment=PROCESSION_STATE=/var/lib/procession\n\
         Environment=PROCESSION_RUNTIME=/run/procession\n\
         Environment=PROCESSION_CONFIG=/etc/procession\n\
         StateDirectory=procession/{instance}\n\
         StateDirectoryMode=0750\n\
         ConfigurationDirectory=procession\n"
    )?;
    for credential in &process.credentials {
        writeln!(text, "LoadCredential={credential}")?;
    }
    write!(
        text,
        "# 2: wrong usage, 78: wrong configuration. Trying again wouldn't help.\n\
         Restart=on-failure\n\
         RestartSec=1s\n\
         RestartPreventExitStatus=2 78\n\
         WatchdogSec=30s\n\
         TimeoutStartSec=5min\n\
         TimeoutStopSec=30s\n\
         MemoryHigh={}\n\
         MemoryMax={}\n\
         TasksMax=64\n\
         LimitNOFILE=16384\n\n\
         {SANDBOX}{}\n\
         [Install]\n\
         WantedBy={TARGET}\n",
        memory.high,
        memory.max,
        network(process.network),
    )?;
    Ok(text)
}

fn network(need: Network) -> &'static str {
    match need {
        Network::Local => "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\nIPAddressDeny=any\n",
        Network::Loopback => {
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nIPAddressDeny=any\nIPAddressAllow=localhost\n"
        }
        Network::Internet => "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n",
    }
}

/// The target.
pub(crate) fn target(swarm: &Swarm) -> Result<String> {
    let mut text = format!("{GENERATED}[Unit]\nDescription=Procession: all processes\n");
    for process in swarm.processes.iter().filter(|process| process.enabled) {
        let unit = unit_name(process);
        match process.instances {
            None => writeln!(text, "Wants={unit}")?,
            Some(count) => {
                for n in 1..=count.get() {
                    writeln!(text, "Wants={}", unit.replace('@', &format!("@{n}")))?;
                }
            }
        }
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(text)
}

/// A drop-in for all our units: the growing delay between restarts.
pub(crate) fn growing_delay() -> String {
    format!(
        "{GENERATED}# For systemd 254 and later; older ones don't know these keys and restart at RestartSec.\n\
         # To be installed as procession-.service.d/growing-delay.conf, which holds for all our units.\n\
         [Service]\n\
         RestartSteps=6\n\
         RestartMaxDelaySec=1min\n"
    )
}

/// The users: one for each process, all in one group.
pub(crate) fn sysusers(swarm: &Swarm) -> Result<String> {
    let mut text = format!(
        "{GENERATED}# Who may see everything and call the processes is put in the group procession.\n"
    );
    writeln!(text, "g procession - -")?;
    for process in &swarm.processes {
        let user = process.user();
        writeln!(text, "u {user} - \"Procession {}\" /var/lib/procession -", process.name)?;
        writeln!(text, "m {user} procession")?;
    }
    Ok(text)
}

/// The folders that the processes share.
pub(crate) fn tmpfiles() -> String {
    format!(
        "{GENERATED}# Sockets: any process may put one here, the sticky bit keeps it from taking another's away.\n\
         d /run/procession 3770 root procession -\n\
         # Each process's own folder in it is made by its unit.\n\
         d /var/lib/procession 0750 root procession -\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(more: &str) -> Swarm {
        let head = "[[process]]\nname = 'worker'\ncontext = 'scores'\ndescription = 'Works 100 %'\n";
        Swarm::parse(&format!("{head}{more}")).unwrap()
    }

    #[test]
    fn instances_share_a_template() {
        let swarm = swarm("network = 'local'\ninstances = 2");
        let process = &swarm.processes[0];
        assert_eq!(unit_name(process), "procession-worker@.service");
        let unit = unit(process).unwrap();
        for line in [
            "Description=Procession worker@%i: Works 100 %%",
            "ExecStart=/usr/bin/worker run --instance worker@%i",
            "StateDirectory=procession/worker@%i",
            "PrivateNetwork=yes",
        ] {
            assert!(unit.lines().any(|found| found == line), "{line} is missing in\n{unit}");
        }
        let target = target(&swarm).unwrap();
        assert!(target.contains("Wants=procession-worker@1.service\nWants=procession-worker@2.service\n"));
    }

    #[test]
    fn the_network_is_as_wide_as_needed() {
        let of = |network: &str| unit(&swarm(&format!("network = '{network}'")).processes[0]).unwrap();
        assert!(!of("loopback").contains("PrivateNetwork") && of("loopback").contains("IPAddressDeny=any"));
        assert!(!of("internet").contains("IPAddressDeny"));
    }

    #[test]
    fn what_is_not_enabled_is_not_wanted() {
        let swarm = swarm("network = 'local'\nenabled = false");
        assert!(!target(&swarm).unwrap().contains("Wants="));
        assert!(sysusers(&swarm).unwrap().contains("u procession-worker - "));
    }

    #[test]
    fn credentials_may_be_missing() {
        // A name without a path is looked for in the credential stores, and isn't required.
        let swarm = swarm("network = 'local'\ncredentials = ['token']");
        assert!(unit(&swarm.processes[0]).unwrap().contains("\nLoadCredential=token\n"));
    }
}
