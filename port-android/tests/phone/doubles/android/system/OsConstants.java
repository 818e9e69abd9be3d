package android.system;

public final class OsConstants {
    public static final int AF_INET = 2;
    public static final int AF_INET6 = 10;
}
