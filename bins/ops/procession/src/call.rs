//! `procession call`: any method of a process's socket.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use procession::names::Instance;
use procession::varlink::{Client, ClientError, NoParameters};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::home::Home;
use crate::output::Output;
use crate::report::failure;
use crate::socket::{self, NoAnswer, block_on};
use crate::text::indent_json;

/// Call a method of a process, and print its reply.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The instance.
    process: Instance,
    /// The method: `Status`, where no other interface has one of that name, up to
    /// `io.procession.Process.Status`.
    method: String,
    /// The parameters, a JSON object.
    #[arg(value_name = "JSON", value_parser = parse_parameters)]
    parameters: Option<Parameters>,
    /// Ask for several replies, and print each as it comes.
    #[arg(long)]
    more: bool,
    /// How long to wait for the reply; with --more, for the connection.
    #[arg(long, default_value = "5s", value_parser = crate::parse_duration)]
    timeout: Duration,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A JSON object as it was given.
#[derive(Debug, Clone)]
struct Parameters(Box<RawValue>);

#[derive(Deserialize)]
struct Info {
    interfaces: Vec<String>,
}

#[derive(Deserialize)]
struct Description {
    description: String,
}

/// Runs `procession call`.
pub(crate) fn run(args: &Args, out: &mut Output) -> Result<ExitCode> {
    let home = Home::find()?;
    block_on(async {
        let connected = socket::connect(&home, &args.process, args.timeout).await;
        let mut client = connected.map_err(|silence| silence.into_error(&args.process))?;
        let method = full_name(args, &mut client).await?;
        call(args, &method, &mut client, out).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn call(args: &Args, method: &str, client: &mut Client, out: &mut Output) -> Result<()> {
    let none = RawValue::from_string("{}".to_owned())?;
    let parameters = args.parameters.as_ref().map_or(&*none, |Parameters(parameters)| parameters);
    let failed = |error| words(error, method, &args.process);
    if !args.more {
        let reply: Box<RawValue> = client.call(method, parameters).await.map_err(failed)?;
        return print(args, &reply, out);
    }
    let mut replies = client.call_more::<Box<RawValue>>(method, parameters).await.map_err(failed)?;
    while let Some(reply) = replies.next().await.map_err(failed)? {
        print(args, &reply, out)?;
        // The next one may be long in coming.
        out.flush()?;
    }
    Ok(())
}

fn print(args: &Args, reply: &RawValue, out: &mut Output) -> Result<()> {
    if args.json {
        return Ok(out.json_line(reply.get().as_bytes())?);
    }
    for line in indent_json(reply.get()).lines() {
        out.json_line(line.as_bytes())?;
    }
    Ok(())
}

/// The one method of the process whose full name ends in what was given.
async fn full_name(args: &Args, client: &mut Client) -> Result<String> {
    let methods = methods(client).await.map_err(|silence| silence.into_error(&args.process))?;
    let (given, process) = (args.method.as_str(), &args.process);
    let meant = |method: &&String| {
        let rest = method.strip_suffix(given);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    match methods.iter().filter(meant).collect::<Vec<_>>()[..] {
        [method] => Ok(method.clone()),
        [] => {
            let what = format!("`{process}` has no method `{}`", crate::text::escape(given));
            Err(failure(what, format!("one of {}", methods.join(", "))))
        }
        ref several => {
            let several: Vec<_> = several.iter().map(|method| method.as_str()).collect();
            Err(failure(format!("`{given}` may be several methods of `{process}`"), several.join(", or ")))
        }
    }
}

/// The full names of all methods that the process serves.
async fn methods(client: &mut Client) -> Result<Vec<String>, NoAnswer> {
    let asked = client.call("org.varlink.service.GetInfo", &NoParameters {}).await;
    let info: Info = asked.map_err(NoAnswer::from)?;
    let mut methods = Vec::new();
    for interface in info.interfaces {
        let of = json!({"interface": interface});
        let described = client.call("org.varlink.service.GetInterfaceDescription", &of).await;
        let Description { description } = described.map_err(NoAnswer::from)?;
        methods.extend(declared(&description).map(|method| format!("{interface}.{method}")));
    }
    Ok(methods)
}

/// The methods that an interface's description declares: each begins a line.
fn declared(description: &str) -> impl Iterator<Item = &str> {
    description.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix("method ")?.split('(').next()?.trim();
        Some(name).filter(|name| !name.is_empty())
    })
}

/// The error that a process answered with, and what may help.
fn words(error: ClientError, method: &str, process: &Instance) -> anyhow::Error {
    let advice = match &error {
        ClientError::Timeout(_) => "more patience by --timeout".to_owned(),
        ClientError::Error { name, .. } if name.ends_with(".ExpectedMore") => "add --more".to_owned(),
        ClientError::Error { name, .. } if name.ends_with(".InvalidParameter") => {
            let interface = method.rsplit_once('.').map_or(method, |(interface, _)| interface);
            let parameters = json!({"interface": interface});
            format!("procession call {process} GetInterfaceDescription '{parameters}'")
        }
        _ => return anyhow::Error::new(error),
    };
    failure(error.to_string(), advice)
}

fn parse_parameters(text: &str) -> Result<Parameters, String> {
    let parameters =
        RawValue::from_string(text.to_owned()).map_err(|error| format!("it is not JSON: {error}"))?;
    if !parameters.get().trim_start().starts_with('{') {
        return Err("parameters are an object: {\"name\": value}".to_owned());
    }
    Ok(Parameters(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_in_a_description() {
        let description = "# method Not()\ninterface a.b\ntype T (method: string)\nmethod One() -> ()\n  method Two (a: int) -> ()\n";
        assert_eq!(declared(description).collect::<Vec<_>>(), ["One", "Two"]);
    }

    #[test]
    fn parameters_are_an_object() {
        assert!(parse_parameters(r#" {"a": 1}"#).is_ok());
        for bad in ["", "1", "[]", "{", "{} {}"] {
            assert!(parse_parameters(bad).is_err(), "{bad}");
        }
    }
}
