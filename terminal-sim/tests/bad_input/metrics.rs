//! The daemon's figures, read over HTTP as a monitor would.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Every figure by its name and labels, as they stand before the value: `name{label="value"}`. Labels are
/// sorted, for Prometheus gives them no order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(BTreeMap<String, i64>);

impl Figures {
    /// GETs `/metrics`.
    pub(crate) async fn read(console: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(console).await?;
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: {console}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, page) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
        anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{}", head.lines().next().unwrap_or_default());
        Ok(Self::parse(page))
    }

    /// Whole numbers only: times and their buckets are of no concern here.
    fn parse(page: &str) -> Self {
        let row = |line: &str| {
            let (key, value) = line.rsplit_once(' ')?;
            Some((sorted(key), value.parse().ok()?))
        };
        Self(page.lines().filter(|line| !line.starts_with('#')).filter_map(row).collect())
    }

    /// A figure; 0 when it has not been counted yet.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        self.0.get(&sorted(&format!("{name}{{{}}}", labels.join(",")))).copied().unwrap_or(0)
    }
}

fn sorted(key: &str) -> String {
    let Some((name, labels)) = key.strip_suffix('}').and_then(|key| key.split_once('{')) else {
        return key.to_owned();
    };
    let mut labels: Vec<&str> = labels.split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}
