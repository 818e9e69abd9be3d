package io.github.mpttunnel;

import java.util.List;

/** What the service says of itself. */
public final class MptStatus {
    /** What it is doing. */
    public enum State {
        /** Nothing. */
        OFF,
        /** It is on, and waits for a network, a name server or the server. */
        WAITING,
        /** At least one path leads to the server. */
        CONNECTED,
        /** It has stopped by itself; the sentence says why. */
        FAILED
    }

    public final State state;
    /** For the user. */
    public final String sentence;
    public final MptStats stats;
    /** The last lines that the tunnel has said, oldest first. */
    public final List<String> log;

    MptStatus(State state, String sentence, MptStats stats, List<String> log) {
        this.state = state;
        this.sentence = sentence;
        this.stats = stats;
        this.log = log;
    }
}
