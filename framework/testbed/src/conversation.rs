//! A TCP connection over which one host says lines and another says them back.

use crate::network::{Network, PATIENCE};
use crate::process::Process;
use std::path::Path;

/// Says back what it is told, to everybody.
const ECHO: &str = "import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True
with Server(('', 7), Echo) as server:
    print('listening', flush=True)
    server.serve_forever()
";

/// Passes standard input on, and says what comes back.
const CLIENT: &str = "import socket, sys, threading
connection = socket.create_connection((sys.argv[1], 7))
print('connected', flush=True)
def listen():
    for line in connection.makefile(): print(line, end='', flush=True)
    print('the connection is gone', flush=True)
threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin: connection.sendall(line.encode())
";

/// One connection.
pub struct Conversation {
    client: Process,
    _server: Process,
}

impl Conversation {
    /// Opens it from one host to another, which is known by this name.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn open(network: &Network, host: &str, (peer, name): (&str, &str)) -> Self {
        let words = |kind: &str| network.home.path().join(format!("{host}-{peer}-{kind}.log"));
        let python = |host: &str, script: &str| {
            let mut command = network.world.command(host, Path::new("python3"));
            command.args(["-u", "-c", script]);
            command
        };
        let mut server = Process::start(python(peer, ECHO), &words("echo")).expect("python3 starts");
        server.await_word("listening", PATIENCE);
        let mut client = python(host, CLIENT);
        client.arg(name);
        let mut client = Process::start(client, &words("client")).expect("python3 starts");
        client.await_word("connected", PATIENCE);
        Self { client, _server: server }
    }

    /// Has something said back.
    ///
    /// # Panics
    /// When the connection does not do it.
    pub fn goes_on(&mut self, mark: &str) {
        self.client.say(mark);
        self.client.await_word(mark, 3 * PATIENCE);
    }
}
