package io.github.mpttunnel;

/** The native library: a running tunnel, known by a number. All of it may be called from any thread. */
final class MptTunnel {
    /** What a running tunnel asks of the app. All calls come from the tunnel's own thread. */
    interface Host {
        /**
         * A socket was made and has no address yet: keep it out of the VPN and tie it to the network. False if that
         * cannot be done; the path then waits for its network.
         */
        boolean tie(int socket, String network);

        /** Something that people may want to read. */
        void log(String line);

        /** The tunnel has ended although nobody stopped it. */
        void ended(String why);
    }

    static {
        System.loadLibrary("mpt_android");
    }

    private MptTunnel() {}

    /** Starts a tunnel. Owns {@code device} from here on, also when it throws. */
    static native long start(MptConfig config, int device, Host host) throws MptException;

    /** Returns when its sockets and its device are closed. */
    static native void stop(long tunnel);

    /**
     * Adds the paths of a network, or tells that the network has changed. {@code isNew}: it is another one than before
     * under this name. {@code mtu} in bytes, 0 when unknown.
     */
    static native void putNetwork(long tunnel, String name, boolean isNew, int mtu, String[] addresses)
            throws MptException;

    /** Removes the paths of a network. */
    static native void removeNetwork(long tunnel, String name) throws MptException;

    /** Says when the paths of a network are used: a mark of {@link MptConfig}. */
    static native void markNetwork(long tunnel, String name, int mark) throws MptException;

    /** One path a line; {@link MptStats} reads it. */
    static native String stats(long tunnel) throws MptException;

    /**
     * What a configuration says that Android must know: one fact a line, a name, a tab, a value. {@code files} is the folder with the
     * keys, here and below.
     */
    static native String facts(String toml, String files) throws MptException;

    /** The configuration to keep of one that came from elsewhere: pre-shared keys in it are moved to files. */
    static native String imported(String toml, String files) throws MptException;

    /** The phone's public key; its private one is made if there is none. */
    static native String publicKey(String files) throws MptException;
}
