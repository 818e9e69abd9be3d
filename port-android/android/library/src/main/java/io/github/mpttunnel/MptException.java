package io.github.mpttunnel;

/** Something cannot be done; the message is a sentence for the user. */
public final class MptException extends Exception {
    private static final long serialVersionUID = 1;

    public MptException(String message) {
        super(message);
    }
}
