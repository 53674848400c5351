//! The figures that are watched, and how far each may move without growing.

/// What is watched of each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Resident,
    Private,
    Descriptors,
    Threads,
    Cpu,
    Disk,
    Throughput,
    Lag,
}

/// All of them, as they are drawn.
pub(crate) const FIGURES: [Figure; 8] = [
    Figure::Resident,
    Figure::Private,
    Figure::Descriptors,
    Figure::Threads,
    Figure::Cpu,
    Figure::Disk,
    Figure::Throughput,
    Figure::Lag,
];

impl Figure {
    /// The heading of its column.
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Self::Resident => "resident_mib",
            Self::Private => "private_mib",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Cpu => "cpu_percent",
            Self::Disk => "disk_mib",
            Self::Throughput => "records_per_second",
            Self::Lag => "lag",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Resident => "Resident memory, mapped journals included",
            Self::Private => "Private memory",
            Self::Descriptors => "Open descriptors",
            Self::Threads => "Threads",
            Self::Cpu => "Processor time",
            Self::Disk => "Files on disk",
            Self::Throughput => "Throughput",
            Self::Lag => "Lag of the slowest subscription",
        }
    }

    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Resident | Self::Private | Self::Disk => "MiB",
            Self::Descriptors | Self::Threads => "count",
            Self::Cpu => "% of one core",
            Self::Throughput => "records/s",
            Self::Lag => "records",
        }
    }

    /// Whether it is a fault if it grows. Throughput and processor time follow the load and the machine.
    pub(crate) const fn must_be_flat(self) -> bool {
        !matches!(self, Self::Throughput | Self::Cpu)
    }

    /// What it may grow by between the first quarter and the last, in its unit, beside 10 %: what a busy machine
    /// or the place in a segment may move.
    pub(crate) fn allowance(self, segment_mib: f64, rate: f64) -> f64 {
        match self {
            // Mapped: each process has a few segments of each journal in its hands.
            Self::Resident => 2.0 + 2.0 * segment_mib,
            Self::Private => 0.75,
            Self::Descriptors => 2.0,
            Self::Threads => 1.0,
            Self::Cpu => 10.0,
            Self::Disk => 2.0 * segment_mib,
            Self::Throughput => 0.0,
            // A tenth of a second behind is nothing.
            Self::Lag => rate / 10.0,
        }
    }
}
