//! For tests: a made-up chain, served over a real socket by a node that can be made to fail in many ways.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How a node answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Closes every connection at once.
    Closed,
    /// Takes the request and never answers.
    Silent,
    /// An HTTP status with a page.
    Status(u16),
    /// 200 and this text.
    Text(&'static str),
    /// Half of the answer, though its length is promised.
    CutOff,
    /// Half of the answer, and its length is that of the half.
    CutJson,
    /// A JSON-RPC error.
    Error(i64, &'static str),
    /// Blocks without their transactions.
    Hollow,
    /// No fault: a control byte that isn't escaped in every vote, as old nodes have served some posts.
    RawControl,
    /// No fault: a compressed answer.
    Gzip,
}

/// What a node knows and how it is.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) blocks: BTreeMap<u32, Value>,
    pub(crate) head: u32,
    pub(crate) irreversible: u32,
    pub(crate) fault: Fault,
    /// A server behind the same name that doesn't have these blocks yet is the next one to be asked for each of them.
    pub(crate) absent_once: BTreeSet<u32>,
    /// Its history gives no virtual operations of blocks beyond this number.
    pub(crate) virtual_up_to: Option<u32>,
    /// Its history begins with this block.
    pub(crate) virtual_from: u32,
    /// A second server behind the same name takes turns with the first one, and its history ends here.
    pub(crate) laggard: Option<u32>,
    /// How many questions about the history there were, of which the first goes to the second server.
    pub(crate) turn: u32,
    /// These blocks have no virtual operation.
    pub(crate) without_virtual: BTreeSet<u32>,
    /// Methods that it doesn't have.
    pub(crate) lacks: BTreeSet<&'static str>,
    /// Every method it was asked, in order.
    pub(crate) asked: Vec<String>,
}

/// The id of a block on a fork.
pub(crate) fn id(number: u32, fork: u32) -> String {
    if number == 0 { "0".repeat(40) } else { format!("{number:08x}{fork:08x}{:024x}", 0xc0ffee) }
}

/// A block in the older form, with as many transactions as its number's last digit is modulo 3.
fn block(number: u32, fork: u32, parent_fork: u32) -> Value {
    let count = number % 3;
    let ids: Vec<String> = (0..count).map(|index| format!("{number:020x}{fork:010x}{index:010x}")).collect();
    let transaction = |index: u32| {
        let vote =
            json!(["vote", {"voter": format!("voter{index}"), "author": "a", "permlink": fork, "weight": 1}]);
        json!({"operations": [vote, {"type": "comment_operation", "value": {"author": format!("a{number}")}}]})
    };
    json!({
        "block_id": id(number, fork), "previous": id(number - 1, parent_fork), "timestamp": "2016-03-24T16:05:00",
        "transaction_merkle_root": if count == 0 { "0".repeat(40) } else { "ab".repeat(20) },
        "transaction_ids": ids, "transactions": (0..count).map(transaction).collect::<Vec<_>>(),
    })
}

impl State {
    /// Puts `numbers` on `fork`; the first continues `parent_fork`. The head is the last of them.
    pub(crate) fn grow(&mut self, numbers: std::ops::RangeInclusive<u32>, fork: u32, parent_fork: u32) {
        self.head = *numbers.end();
        self.blocks.split_off(numbers.start());
        for number in numbers.clone() {
            let parent = if number == *numbers.start() { parent_fork } else { fork };
            self.blocks.insert(number, block(number, fork, parent));
        }
    }

    /// Says `method` was asked with `params`, and answers it.
    fn answer(&mut self, method: &str, params: &Value) -> Value {
        self.asked.push(method.to_owned());
        if self.lacks.iter().any(|lacking| method.contains(lacking)) {
            let message = format!(
                "Assert Exception:method_itr != api_itr->second.end(): Could not find method {method}"
            );
            return json!({"error": {"code": -32002, "message": message}});
        }
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        let result = match method {
            "database_api.get_dynamic_global_properties" | "condenser_api.get_dynamic_global_properties" => {
                let head_id = self.blocks.get(&self.head).map(|block| block["block_id"].clone());
                json!({"head_block_number": self.head, "head_block_id": head_id.unwrap_or(json!("")),
                    "last_irreversible_block_num": self.irreversible, "time": "2016-03-24T16:05:00"})
            }
            "block_api.get_block" => match self.serve_block(number(&params["block_num"])) {
                Some(block) => json!({ "block": block }),
                None => json!({}),
            },
            "condenser_api.get_block" => self.serve_block(number(&params[0])).unwrap_or(Value::Null),
            "block_api.get_block_range" => {
                let first = number(&params["starting_block_num"]);
                let numbers = first..first + number(&params["count"]);
                json!({"blocks": numbers.filter_map(|number| self.serve_block(number)).collect::<Vec<_>>()})
            }
            "account_history_api.get_ops_in_block" => {
                let known = self.known();
                self.operations(number(&params["block_num"]), known)
            }
            "account_history_api.enum_virtual_ops" => {
                let known = self.known();
                let numbers = number(&params["block_range_begin"])..number(&params["block_range_end"]);
                let ops = numbers.filter(|number| *number <= self.head);
                let ops = ops.filter_map(|number| self.virtual_operation(number, known));
                json!({ "ops": ops.collect::<Vec<_>>() })
            }
            _ => return json!({"error": {"code": -32601, "message": "Method not found"}}),
        };
        json!({ "result": result })
    }

    fn serve_block(&mut self, number: u32) -> Option<Value> {
        if self.absent_once.remove(&number) { None } else { self.block(number) }
    }

    fn block(&self, number: u32) -> Option<Value> {
        let mut block = self.blocks.get(&number).filter(|_| number <= self.head)?.clone();
        if self.fault == Fault::Hollow {
            block["transactions"] = json!([]);
            block["transaction_ids"] = json!([]);
        }
        Some(block)
    }

    /// The last block that the history of the server whose turn it is knows.
    fn known(&mut self) -> u32 {
        let turn = self.turn;
        self.turn += 1;
        let laggard = self.laggard.filter(|_| turn.is_multiple_of(2));
        laggard.or(self.virtual_up_to).unwrap_or(u32::MAX)
    }

    fn operations(&self, number: u32, known: u32) -> Value {
        let Some(block) = self.block(number) else { return json!({"ops": []}) };
        let mut ops = Vec::new();
        for (index, transaction) in block["transactions"].as_array().unwrap().iter().enumerate() {
            for (place, op) in transaction["operations"].as_array().unwrap().iter().enumerate() {
                ops.push(
                    json!({"block": number, "trx_id": block["transaction_ids"][index], "trx_in_block": index,
                    "op_in_trx": place, "virtual_op": false, "timestamp": block["timestamp"], "op": op}),
                );
            }
        }
        ops.extend(self.virtual_operation(number, known));
        json!({ "ops": ops })
    }

    fn virtual_operation(&self, number: u32, known: u32) -> Option<Value> {
        let none = number < self.virtual_from || number > known || self.without_virtual.contains(&number);
        let timestamp = self.blocks.get(&number).filter(|_| !none)?["timestamp"].clone();
        Some(json!({"block": number, "trx_id": "0".repeat(40), "trx_in_block": u32::MAX, "op_in_trx": 1,
            "virtual_op": true, "timestamp": timestamp,
            "op": {"type": "producer_reward_operation", "value": {"producer": "w"}}}))
    }
}

/// A node at an address of its own, until it is dropped.
pub(crate) struct TestNode {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl TestNode {
    /// A node whose chain has `head` blocks, of which `irreversible` are final.
    pub(crate) async fn with(head: u32, irreversible: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { irreversible, ..State::default() }));
        state.lock().unwrap().grow(1..=head, 0, 0);
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        TestNode { url, state, serving }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often a method was asked for.
    pub(crate) fn asked(&self, method: &str) -> usize {
        self.state().asked.iter().filter(|asked| *asked == method).count()
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&state)));
    }
}

/// Answers requests on one connection, one after the other.
async fn converse(mut stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        let (fault, answer) = {
            let mut state = state.lock().unwrap();
            let answer = state.answer(request["method"].as_str()?, &request["params"]);
            (state.fault.clone(), answer.to_string())
        };
        let answer = match fault {
            Fault::RawControl => answer.replace(r#""weight":1"#, "\"weight\":1,\"memo\":\"a\u{3}b\""),
            _ => answer,
        };
        let half = &answer[..answer.len() / 2];
        let (status, length, body) = match &fault {
            Fault::Closed => return None,
            Fault::Silent => std::future::pending().await,
            Fault::Status(status) => (*status, 15, "<html>no</html>"),
            Fault::Text(text) => (200, text.len(), *text),
            Fault::CutOff => (200, answer.len(), half),
            Fault::CutJson => (200, half.len(), half),
            Fault::Error(code, message) => {
                let error = json!({"error": {"code": code, "message": message}}).to_string();
                respond(&mut stream, 500, error.len(), &error).await?;
                continue;
            }
            Fault::Gzip => {
                respond_compressed(&mut stream, &answer).await?;
                continue;
            }
            Fault::None | Fault::Hollow | Fault::RawControl => (200, answer.len(), answer.as_str()),
        };
        respond(&mut stream, status, length, body).await?;
        if fault == Fault::CutOff {
            return None;
        }
    }
}

async fn respond(stream: &mut TcpStream, status: u16, length: usize, body: &str) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()
}

async fn respond_compressed(stream: &mut TcpStream, body: &str) -> Option<()> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).ok()?;
    let bytes = encoder.finish().ok()?;
    let head = format!("HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&bytes).await.ok()
}

async fn read_request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return serde_json::from_str(body).ok();
        }
    }
}
