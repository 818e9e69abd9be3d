package io.github.mpttunnel;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The paths at one moment. */
public final class MptStats {
    /** One path. */
    public static final class Path {
        public final String connection;
        public final String name;
        /** The network it takes. */
        public final String network;
        public final boolean up;
        /** Why it is not up; empty if it is. */
        public final String why;
        /** Round-trip time in microseconds; -1 while unknown. */
        public final long rttMicros;
        public final long sentDatagrams;
        public final long sentBytes;
        public final long receivedDatagrams;
        public final long receivedBytes;
        /** Times it went down after it had been up. */
        public final long downs;
        /** Bits per second that it was measured to carry to the server; -1 while unknown or not measured. */
        public final long carries;
        /** Bits per second since the moment before, both ways together. */
        public final double rate;
        /** Part of the bytes of all paths since the moment before, 0 to 1. */
        public final double share;

        private Path(String[] columns, double rate, double share) {
            connection = columns[0];
            name = columns[1];
            network = columns[2];
            up = columns[3].equals("up");
            why = columns[4];
            rttMicros = Long.parseLong(columns[5]);
            sentDatagrams = Long.parseLong(columns[6]);
            sentBytes = Long.parseLong(columns[7]);
            receivedDatagrams = Long.parseLong(columns[8]);
            receivedBytes = Long.parseLong(columns[9]);
            downs = Long.parseLong(columns[10]);
            carries = Long.parseLong(columns[11]);
            this.rate = rate;
            this.share = share;
        }

        /** Whether it is only waiting for its turn. */
        public boolean isIdleBackup() {
            return why.equals("not in use");
        }

        private long bytes() {
            return sentBytes + receivedBytes;
        }
    }

    /** Nothing. */
    public static final MptStats NONE = new MptStats("", null, 0);

    /** In the order of the configuration. */
    public final List<Path> paths;
    private final long nanos;

    /** Of what the native library says; {@code before} may be null. */
    MptStats(String lines, MptStats before, long nanos) {
        this.nanos = nanos;
        List<Path> raw = new ArrayList<Path>();
        for (String line : lines.split("\n")) {
            String[] columns = line.split("\t", -1);
            if (columns.length == 12) {
                raw.add(new Path(columns, 0, 0));
            }
        }
        if (before == null || before.paths.size() != raw.size()) {
            paths = Collections.unmodifiableList(raw);
            return;
        }
        long total = 0;
        for (int index = 0; index < raw.size(); index++) {
            total += raw.get(index).bytes() - before.paths.get(index).bytes();
        }
        double seconds = (nanos - before.nanos) / 1e9;
        List<Path> counted = new ArrayList<Path>();
        String[] all = lines.split("\n");
        for (int index = 0; index < raw.size(); index++) {
            double bytes = raw.get(index).bytes() - before.paths.get(index).bytes();
            counted.add(new Path(
                    all[index].split("\t", -1), seconds > 0 ? bytes * 8 / seconds : 0, total > 0 ? bytes / total : 0));
        }
        paths = Collections.unmodifiableList(counted);
    }

    /** How many are up. */
    public int up() {
        int up = 0;
        for (Path path : paths) {
            up += path.up ? 1 : 0;
        }
        return up;
    }
}
