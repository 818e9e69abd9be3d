package android.util;

public final class Log {
    private static int print(String level, String line, Throwable error) {
        System.err.println(level + " " + line + (error == null ? "" : ": " + error));
        if (error instanceof RuntimeException) {
            error.printStackTrace();
        }
        return 0;
    }

    public static int i(String tag, String line) {
        return print("i", line, null);
    }

    public static int i(String tag, String line, Throwable error) {
        return print("i", line, error);
    }

    public static int w(String tag, String line) {
        return print("w", line, null);
    }

    public static int w(String tag, String line, Throwable error) {
        return print("w", line, error);
    }

    public static int e(String tag, String line, Throwable error) {
        return print("e", line, error);
    }
}
