//! `/proc/net`: the tables of the network, which are empty but for their headings until there is one.

use crate::errno::Result;
use crate::fs::generated::{Entry, Text};

/// Files with nothing but a heading.
macro_rules! headings {
    ($($name:literal $text:literal),* $(,)?) => {
        &[$(Entry::file($name, |_, out| heading(out, $text))),*]
    };
}

pub(super) static ENTRIES: &[Entry<super::process::Subject>] = headings! {
    "arp" "IP address       HW type     Flags       HW address            Mask     Device\n",
    "dev" "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n",
    "if_inet6" "",
    "netlink" "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
    "packet" "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n",
    "raw" "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
    "route" "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n",
    "tcp" "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n",
    "tcp6" "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
    "udp" "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n",
    "udp6" "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
    "unix" "Num       RefCount Protocol Flags    Type St Inode Path\n",
};

fn heading(out: &mut Text, text: &str) -> Result<()> {
    out.push(text.as_bytes());
    Ok(())
}
