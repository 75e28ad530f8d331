//! A Redis server of the test's own: on a Unix socket in a directory of its own, ended with it.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

pub(crate) struct RedisServer {
    process: Option<Child>,
    directory: TempDir,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        let mut server = Self { process: None, directory: tempfile::tempdir().unwrap() };
        server.resume().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket())
    }

    fn socket(&self) -> String {
        self.directory.path().join("redis.sock").to_str().unwrap().to_owned()
    }

    /// As a machine does that loses its power.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts the server on the files that it left, and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(["--unixsocket", &self.socket(), "--dir", self.directory.path().to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn();
        let process = process.expect("redis-server is needed: install the Debian package redis-server");
        self.process = Some(process);
        let answering = async {
            while self.command::<String>(&["PING"]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answering).await.expect("redis-server did not answer");
    }

    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut connection).await
    }

    /// Lets every expiry come nearer by `by`. To whoever keeps time by expiry alone, that much time has passed.
    pub(crate) async fn advance(&self, by: Duration) {
        let by = by.as_millis().to_string();
        let script = "for _, key in ipairs(redis.call('KEYS', '*')) do
             local left = redis.call('PTTL', key)
             if left < 0 then return redis.error_reply(key .. ' never expires') end
             left = left - ARGV[1]
             if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('DEL', key) end
         end
         return 1";
        let aged: i64 = self.command(&["EVAL", script, "0", &by]).await.unwrap();
        assert_eq!(aged, 1);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
