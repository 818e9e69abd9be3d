package phone;

import android.app.NotificationManager;
import android.app.Service;
import android.content.Context;
import android.content.Intent;
import android.content.SharedPreferences;
import android.net.ConnectivityManager;
import io.github.mpttunnel.MptBootReceiver;
import io.github.mpttunnel.MptConfig;
import io.github.mpttunnel.MptException;
import io.github.mpttunnel.MptStats;
import io.github.mpttunnel.MptStatus;
import io.github.mpttunnel.MptVpnService;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.RandomAccessFile;
import java.lang.reflect.Field;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * A phone around the service: Android's main thread, which takes commands from standard input and answers each with a
 * line, and the way to the system, which does what Java cannot (phone.py).
 */
public final class Phone {
    public static final ConnectivityManager connectivity = new ConnectivityManager();
    public static final NotificationManager notifications = new NotificationManager();
    public static final SharedPreferences preferences = new Preferences();
    /** The service's notification; null when there is none. */
    public static volatile String foreground;
    public static volatile String underlying = "none";
    public static volatile boolean mayVpn = true;
    public static volatile boolean establishes = true;
    public static volatile boolean deniesNetworks;

    private static final ExecutorService callbacks = thread("ConnectivityThread");
    private static final ExecutorService main = thread("main-looper");
    private static final List<RandomAccessFile> devices = new ArrayList<>();
    private static SocketChannel system;
    private static MptVpnService service;

    private static ExecutorService thread(String name) {
        return Executors.newSingleThreadExecutor(body -> {
            Thread thread = new Thread(body, name);
            thread.setDaemon(true);
            return thread;
        });
    }

    public static void main(String[] arguments) throws Exception {
        system = SocketChannel.open(StandardProtocolFamily.UNIX);
        system.connect(UnixDomainSocketAddress.of(System.getProperty("phone.system")));
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String command = line;
            System.out.println(main.submit(() -> obey(command.split(" ", 2))).get().replace("\n", "\\n"));
            System.out.flush();
        }
        System.exit(0);
    }

    private static String obey(String[] words) {
        String argument = words.length > 1 ? words[1] : "";
        Context app = new Context();
        switch (words[0]) {
            case "configure":
                return configure(argument.replace("\\n", "\n"), app);
            case "public-key":
                try {
                    return MptConfig.publicKey(app);
                } catch (MptException error) {
                    return error.getMessage();
                }
            case "toml":
                return MptConfig.load(app).toml();
            case "store":
                // As if an older version of the app had stored it: unchecked.
                preferences.edit().putString("toml", argument.replace("\\n", "\n")).apply();
                return "ok";
            case "mark":
                String[] mark = argument.split(" ");
                MptConfig.load(app).withMark(mark[0], Integer.parseInt(mark[1])).save(app);
                return "ok";
            case "dns":
                MptConfig.load(app).withDns(argument).save(app);
                return "ok";
            case "boot":
                MptConfig.load(app).withStartOnBoot(Boolean.parseBoolean(argument)).save(app);
                return "ok";
            case "booted":
                new MptBootReceiver().onReceive(app, new Intent());
                return "ok";
            case "start":
                MptVpnService.start(app);
                return "ok";
            case "again":
                startService(null);
                return "ok";
            case "stop":
                MptVpnService.stop(app);
                return "ok";
            case "marks":
                MptVpnService.applyMarks(app);
                return "ok";
            case "revoke":
                if (service != null) {
                    service.onRevoke();
                }
                return "ok";
            case "come":
                String[] network = argument.split(" ");
                connectivity.come(Integer.parseInt(network[0]), network[1]);
                return "ok";
            case "go":
                connectivity.go(Integer.parseInt(argument));
                return "ok";
            case "may-vpn":
                mayVpn = Boolean.parseBoolean(argument);
                return "ok";
            case "establishes":
                establishes = Boolean.parseBoolean(argument);
                return "ok";
            case "denies-networks":
                deniesNetworks = Boolean.parseBoolean(argument);
                return "ok";
            case "watch":
                MptVpnService.setWatched(Boolean.parseBoolean(argument));
                return "ok";
            case "status":
                return status();
            case "threads":
                return threads();
            default:
                return "unknown command " + words[0];
        }
    }

    private static String configure(String text, Context app) {
        try {
            MptConfig.parse(app, text).save(app);
            return "ok";
        } catch (MptException error) {
            return error.getMessage();
        }
    }

    /** State, whether the service lives, notification, underlying networks, requests, sentence; then the paths. */
    private static String status() {
        MptStatus status = MptVpnService.status();
        StringBuilder text = new StringBuilder();
        text.append(status.state).append('|').append(service != null).append('|').append(foreground).append('|')
                .append(underlying).append('|').append(connectivity.requests()).append('|').append(status.sentence);
        for (MptStats.Path path : status.stats.paths) {
            text.append('|').append(String.join(" ", path.name, path.up ? "up" : "down", "" + path.rttMicros,
                    "" + path.sentBytes, "" + path.receivedBytes, "" + path.downs, "" + path.rate, "" + path.share,
                    "" + path.carries));
        }
        return text.toString();
    }

    private static String threads() {
        StringBuilder names = new StringBuilder();
        for (Thread thread : Thread.getAllStackTraces().keySet()) {
            names.append(thread.getName()).append(',');
        }
        return names.toString();
    }

    public static void onCallbackThread(Runnable task) {
        callbacks.execute(task);
    }

    /** Android makes the service if it is not there, and hands it the intent, on the main thread. */
    public static void startService(Intent intent) {
        main.execute(() -> {
            if (service == null) {
                service = new MptVpnService();
                service.onCreate();
            }
            service.onStartCommand(intent, 0, 1);
        });
    }

    /** Android ends the service some time after it asked for that. */
    public static void stopRequested(Service which) {
        main.execute(() -> {
            if (service == which) {
                service = null;
                foreground = null;
                which.onDestroy();
            }
        });
    }

    /** Asks the system, and waits. */
    public static synchronized String ask(String question) {
        try {
            system.write(ByteBuffer.wrap((question + "\n").getBytes(StandardCharsets.UTF_8)));
            ByteBuffer answer = ByteBuffer.allocate(1000);
            do {
                if (system.read(answer) < 0) {
                    throw new IOException("the system has gone");
                }
            } while (answer.get(answer.position() - 1) != '\n');
            return new String(answer.array(), 0, answer.position() - 1, StandardCharsets.UTF_8);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    /** A descriptor of the tun driver, not yet a device. */
    public static synchronized int openTun() throws IOException {
        RandomAccessFile device = new RandomAccessFile("/dev/net/tun", "rw");
        // Kept, or Java would close the number when it forgets the file, whoever owns it then.
        devices.add(device);
        return number(device.getFD());
    }

    private static Field numberField() throws NoSuchFieldException {
        Field field = FileDescriptor.class.getDeclaredField("fd");
        field.setAccessible(true);
        return field;
    }

    public static int number(FileDescriptor descriptor) {
        try {
            return numberField().getInt(descriptor);
        } catch (ReflectiveOperationException error) {
            throw new AssertionError(error);
        }
    }

    public static FileDescriptor descriptor(int number) {
        try {
            FileDescriptor descriptor = new FileDescriptor();
            numberField().setInt(descriptor, number);
            return descriptor;
        } catch (ReflectiveOperationException error) {
            throw new AssertionError(error);
        }
    }

    /** In memory. */
    private static final class Preferences implements SharedPreferences, SharedPreferences.Editor {
        private final Map<String, Object> values = new HashMap<>();

        private Object get(String key, Object fallback) {
            return values.getOrDefault(key, fallback);
        }

        @Override
        public synchronized String getString(String key, String fallback) {
            return (String) get(key, fallback);
        }

        @Override
        public synchronized int getInt(String key, int fallback) {
            return (Integer) get(key, fallback);
        }

        @Override
        public synchronized boolean getBoolean(String key, boolean fallback) {
            return (Boolean) get(key, fallback);
        }

        @Override
        public Editor edit() {
            return this;
        }

        private synchronized Editor put(String key, Object value) {
            values.put(key, value);
            return this;
        }

        @Override
        public Editor putString(String key, String value) {
            return put(key, value);
        }

        @Override
        public Editor putInt(String key, int value) {
            return put(key, value);
        }

        @Override
        public Editor putBoolean(String key, boolean value) {
            return put(key, value);
        }

        @Override
        public void apply() {}
    }
}
