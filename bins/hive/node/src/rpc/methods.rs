//! The methods that a follower of the chain uses, in both APIs and in the old `call` form.

use serde::Serialize;
use serde_json::{Value, json};

use super::{RpcError, params, properties};
use crate::block::{Block, ZERO_ID};
use crate::forms::{self, Form};
use crate::json::{self, Raw};
use crate::view::View;

/// What `params` is where it is no transaction of a block.
const NO_TRANSACTION: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Properties(Form),
    Block(Form),
    BlockRange,
    OpsInBlock(Form),
    Version(Form),
}

/// API, method, and what that is. `database_api` is the condenser's of old where it is called by
/// `call` with a list of arguments.
const METHODS: [(&str, &str, Method); 9] = [
    ("condenser_api", "get_dynamic_global_properties", Method::Properties(Form::Condenser)),
    ("database_api", "get_dynamic_global_properties", Method::Properties(Form::Appbase)),
    ("condenser_api", "get_block", Method::Block(Form::Condenser)),
    ("block_api", "get_block", Method::Block(Form::Appbase)),
    ("block_api", "get_block_range", Method::BlockRange),
    ("condenser_api", "get_ops_in_block", Method::OpsInBlock(Form::Condenser)),
    ("account_history_api", "get_ops_in_block", Method::OpsInBlock(Form::Appbase)),
    ("condenser_api", "get_version", Method::Version(Form::Condenser)),
    ("database_api", "get_version", Method::Version(Form::Appbase)),
];

/// One item of get_ops_in_block.
#[derive(Serialize)]
struct AppliedOperation<'a> {
    block: u32,
    op: Raw,
    op_in_trx: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<u32>,
    timestamp: &'a str,
    trx_id: &'a str,
    trx_in_block: u32,
    virtual_op: bool,
}

impl Method {
    /// The method that a request calls, and its parameters.
    pub(super) fn of(request: &Value) -> Result<(Self, &Value), RpcError> {
        if request.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(RpcError::new(-32600, "jsonrpc value is not \"2.0\""));
        }
        let Some(name) = request.get("method").and_then(Value::as_str) else {
            return Err(RpcError::new(-32600, "A member \"method\" does not exist"));
        };
        let Some(params) = request.get("params") else {
            return Err(RpcError::new(-32001, "A member \"params\" does not exist"));
        };
        if name == "call" {
            return Self::of_call(params);
        }
        let Some((api, method)) = name.split_once('.') else {
            return Err(RpcError::of_code(-32601));
        };
        Ok((Self::find(api, method)?, params))
    }

    /// `["database_api","get_block",[1]]`
    fn of_call(params: &Value) -> Result<(Self, &Value), RpcError> {
        const WRONG: &str = "v.size() == 2 || v.size() == 3: params should be {\"api\", \"method\", \"args\"";
        let wrong = || RpcError { code: -32002, ..RpcError::assert(WRONG) };
        let (api, method, args) = match params.as_array().map(Vec::as_slice) {
            Some([api, method]) => (api, method, &Value::Null),
            Some([api, method, args]) => (api, method, args),
            _ => return Err(wrong()),
        };
        // The very first nodes numbered their APIs.
        let api = if api.as_u64() == Some(0) { Some("database_api") } else { api.as_str() };
        let (Some(api), Some(method)) = (api, method.as_str()) else {
            return Err(wrong());
        };
        let old = api == "database_api" && !args.is_object();
        Ok((Self::find(if old { "condenser_api" } else { api }, method)?, args))
    }

    fn find(api: &str, method: &str) -> Result<Self, RpcError> {
        let mut of_api = METHODS.iter().filter(|(name, _, _)| *name == api).peekable();
        if of_api.peek().is_none() {
            return Err(RpcError::no_api(api));
        }
        let found = of_api.find(|(_, name, _)| *name == method);
        found.map(|(_, _, method)| *method).ok_or_else(|| RpcError::no_method(method))
    }

    /// `api.method`
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Properties(Form::Condenser) => "condenser_api.get_dynamic_global_properties",
            Self::Properties(Form::Appbase) => "database_api.get_dynamic_global_properties",
            Self::Block(Form::Condenser) => "condenser_api.get_block",
            Self::Block(Form::Appbase) => "block_api.get_block",
            Self::BlockRange => "block_api.get_block_range",
            Self::OpsInBlock(Form::Condenser) => "condenser_api.get_ops_in_block",
            Self::OpsInBlock(Form::Appbase) => "account_history_api.get_ops_in_block",
            Self::Version(Form::Condenser) => "condenser_api.get_version",
            Self::Version(Form::Appbase) => "database_api.get_version",
        }
    }

    pub(super) fn call(self, params: &Value, view: &View<'_>) -> Result<Raw, RpcError> {
        match self {
            Self::Properties(form) => Ok(properties::answer(view, form)),
            Self::Block(form) => get_block(params, view, form),
            Self::BlockRange => get_block_range(params, view),
            Self::OpsInBlock(form) => get_ops_in_block(params, view, form),
            Self::Version(_) => Ok(json::raw(&json!({
                "blockchain_version": "1.28.3", "hive_revision": ZERO_ID, "fc_revision": ZERO_ID,
                "chain_id": view.chain_id(), "node_type": "hive-node stand-in",
            }))),
        }
    }
}

fn get_block(params: &Value, view: &View<'_>, form: Form) -> Result<Raw, RpcError> {
    let number = match form {
        Form::Appbase => params::uint64(params::object(params)?.get("block_num"))?,
        Form::Condenser => params::uint64(params::array(params, 1, 1)?.first())?,
    };
    let block =
        numbered(number).and_then(|number| view.block(number)).map(|block| forms::block(&block, form));
    Ok(match (form, block) {
        (Form::Appbase, Some(block)) => json::raw(&json::Fields::from_iter([("block".to_owned(), block)])),
        (Form::Appbase, None) => json::raw(&json!({})),
        (Form::Condenser, Some(block)) => block,
        (Form::Condenser, None) => json::raw(&()),
    })
}

fn get_block_range(params: &Value, view: &View<'_>) -> Result<Raw, RpcError> {
    if !view.has_range {
        return Err(RpcError::no_method("get_block_range"));
    }
    let args = params::object(params)?;
    let start = params::uint64(args.get("starting_block_num"))?;
    let count = params::uint64(args.get("count"))?;
    let count = u32::try_from(count).ok().filter(|count| *count <= 1000).ok_or_else(|| {
        RpcError::assert(
            "count <= 1000 && \"fetch_block_range\": You can only ask for 1000 blocks at a timerethrow",
        )
    })?;
    if start == 0 {
        let message = "starting_block_num > 0 && \"fetch_block_range\": Invalid starting block numberrethrow";
        return Err(RpcError::assert(message));
    }
    let blocks = numbered(start).map(|start| view.range(start, count)).unwrap_or_default();
    let blocks: Vec<Raw> = blocks.iter().map(|block| forms::block(block, Form::Appbase)).collect();
    Ok(json::raw(&json::Fields::from_iter([("blocks".to_owned(), json::raw(&blocks))])))
}

fn get_ops_in_block(params: &Value, view: &View<'_>, form: Form) -> Result<Raw, RpcError> {
    let (number, only_virtual, include_reversible) = match form {
        Form::Appbase => {
            let args = params::object(params)?;
            (args.get("block_num"), args.get("only_virtual"), args.get("include_reversible"))
        }
        Form::Condenser => {
            let args = params::array(params, 1, 3)?;
            (args.first(), args.get(1), args.get(2))
        }
    };
    let (only_virtual, include_reversible) =
        (params::boolean(only_virtual)?, params::boolean(include_reversible)?);
    let number = numbered(params::uint64(number)?).filter(|n| include_reversible || view.is_irreversible(*n));
    let block = number.and_then(|number| view.block(number));
    let ops = block.map(|block| applied(&block, only_virtual, form)).unwrap_or_default();
    Ok(match form {
        Form::Appbase => json::raw(&json::Fields::from_iter([("ops".to_owned(), json::raw(&ops))])),
        Form::Condenser => json::raw(&ops),
    })
}

/// A block's operations, each transaction's followed by the virtual ones that it caused, and last
/// those of the block itself, which count from 1.
fn applied(block: &Block, only_virtual: bool, form: Form) -> Vec<Raw> {
    let timestamp = block.timestamp();
    let mut ops = Vec::new();
    let mut push = |op: &Raw, transaction: Option<(usize, &str)>, op_in_trx: usize, virtual_op: bool| {
        let (index, id) = transaction.unwrap_or((NO_TRANSACTION as usize, ZERO_ID));
        ops.push(json::raw(&AppliedOperation {
            block: block.number,
            op: forms::served(op, form),
            op_in_trx,
            operation_id: (form == Form::Appbase).then_some(0),
            timestamp: &timestamp,
            trx_id: id,
            trx_in_block: u32::try_from(index).unwrap_or(NO_TRANSACTION),
            virtual_op,
        }));
    };
    for (index, transaction) in block.transactions.iter().enumerate() {
        let place = Some((index, transaction.id.as_str()));
        let real = transaction.fields.get("operations").and_then(json::items).unwrap_or_default();
        if !only_virtual {
            real.iter().enumerate().for_each(|(op_in_trx, op)| push(op, place, op_in_trx, false));
        }
        let caused = block.virtuals.iter().filter(|v| v.transaction == Some(index));
        caused.enumerate().for_each(|(nth, v)| push(&v.operation, place, real.len() + nth, true));
    }
    let own = block.virtuals.iter().filter(|v| v.transaction.is_none());
    own.enumerate().for_each(|(nth, v)| push(&v.operation, None, nth + 1, true));
    ops
}

/// A number that a block can have.
fn numbered(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0)
}
