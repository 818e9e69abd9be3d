package io.github.mpttunnel;

import android.app.Notification;
import android.app.NotificationManager;
import android.app.PendingIntent;
import android.content.Context;
import android.content.Intent;
import android.net.ConnectivityManager;
import android.net.Network;
import android.net.VpnService;
import android.os.ParcelFileDescriptor;
import android.system.OsConstants;
import android.util.Log;
import java.io.IOException;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;

/**
 * The tunnel as an Android service. It takes the configuration that was saved ({@link MptConfig#save}), so that Android
 * can start it by itself: with the phone, as an always-on VPN, or after it had to end it.
 *
 * <p>Everything that takes time happens on one thread, the worker; Android's calls only hand it work.
 */
public class MptVpnService extends VpnService {
    private static final String TAG = "mpt";
    private static final String ACTION_STOP = "io.github.mpttunnel.STOP";
    private static final String ACTION_MARKS = "io.github.mpttunnel.MARKS";
    private static final String CHANNEL = "mpt";
    private static final int NOTIFICATION = 4754;
    /** Since Android 6; what Android 12 asks for. */
    private static final int FLAG_IMMUTABLE = 0x04000000;
    private static final int LOG_LINES = 50;
    /** How often a name that does not resolve is tried again; a network that comes tries at once. */
    private static final long RESOLVE_AGAIN_MS = 5_000;
    /** A server that has not answered for so long does not answer. */
    private static final long PATIENCE_NANOS = 5_000_000_000L;
    /** Looks at the paths: each second while it matters to somebody, else rarely; what changes is told at once. */
    private static final long LOOK_MS = 1_000;
    private static final int LOOKS_UNWATCHED = 30;

    private static final MptStatus OFF =
            new MptStatus(MptStatus.State.OFF, "Off.", MptStats.NONE, Collections.<String>emptyList());
    private static volatile MptStatus status = OFF;
    private static volatile boolean watched;

    private ScheduledExecutorService worker;

    // The worker's.
    private MptConfig config;
    private MptConfig.Facts facts;
    private MptNetworks networks;
    private long tunnel;
    private Host host;
    private MptStats stats = MptStats.NONE;
    private long quietSince;
    private int looks;
    private ScheduledFuture<?> look;
    private ScheduledFuture<?> again;
    private List<Network> underlying = Collections.emptyList();
    private final Deque<String> log = new ArrayDeque<String>();

    /** Switches the tunnel on, with the saved configuration. The app has called {@link VpnService#prepare} before. */
    public static void start(Context context) {
        Newer.startForegroundService(context, new Intent(context, MptVpnService.class));
    }

    /** Switches it off. */
    public static void stop(Context context) {
        context.startService(new Intent(context, MptVpnService.class).setAction(ACTION_STOP));
    }

    /** The marks of the saved configuration have changed: a running tunnel follows without a pause. */
    public static void applyMarks(Context context) {
        context.startService(new Intent(context, MptVpnService.class).setAction(ACTION_MARKS));
    }

    /** How it is. */
    public static MptStatus status() {
        return status;
    }

    /** Whether somebody looks at {@link #status}: then the figures are new each second. */
    public static void setWatched(boolean isWatched) {
        watched = isWatched;
    }

    @Override
    public void onCreate() {
        super.onCreate();
        worker = Executors.newSingleThreadScheduledExecutor(new ThreadFactory() {
            @Override
            public Thread newThread(Runnable body) {
                return new Thread(body, "mpt-service");
            }
        });
    }

    @Override
    public int onStartCommand(Intent intent, int flags, int startId) {
        // No intent: Android starts it again after it had to end it. Others: the app, or always-on.
        String action = intent == null ? null : intent.getAction();
        if (ACTION_STOP.equals(action)) {
            work(new Runnable() {
                @Override
                public void run() {
                    end(OFF);
                }
            });
            return START_NOT_STICKY;
        }
        if (ACTION_MARKS.equals(action)) {
            work(new Runnable() {
                @Override
                public void run() {
                    followMarks();
                }
            });
            return isOn() ? START_STICKY : START_NOT_STICKY;
        }
        startForeground(NOTIFICATION, notification("Starting."));
        work(new Runnable() {
            @Override
            public void run() {
                begin();
            }
        });
        return START_STICKY;
    }

    /** The user has withdrawn the permission, or another VPN takes over. */
    @Override
    public void onRevoke() {
        work(new Runnable() {
            @Override
            public void run() {
                fail("Another VPN has taken over, or the permission was withdrawn. Switch mpt on again to get it back.");
            }
        });
    }

    /** What the worker is doing may take its time (a name server that is silent): it ends after that, by itself. */
    @Override
    public void onDestroy() {
        work(new Runnable() {
            @Override
            public void run() {
                halt();
                if (isOn()) {
                    status = OFF;
                }
                worker.shutdownNow();
            }
        });
        super.onDestroy();
    }

    private static boolean isOn() {
        return status.state == MptStatus.State.CONNECTED || status.state == MptStatus.State.WAITING;
    }

    private void work(final Runnable task) {
        try {
            worker.execute(new Runnable() {
                @Override
                public void run() {
                    try {
                        task.run();
                    } catch (RuntimeException error) {
                        // What Android throws where nobody expects it must not end the app.
                        Log.e(TAG, "service", error);
                        fail("Android refuses: " + error);
                    }
                }
            });
        } catch (RejectedExecutionException error) {
            Log.w(TAG, "the service has ended", error);
        }
    }

    private void begin() {
        if (networks != null) {
            return;
        }
        config = MptConfig.load(this);
        if (config == null) {
            fail("There is no configuration yet: import one.");
            return;
        }
        try {
            facts = config.facts();
        } catch (MptException error) {
            fail("The configuration cannot be used: " + error.getMessage());
            return;
        }
        if (prepare(this) != null) {
            fail("Android wants your permission for this VPN: switch it on in the app.");
            return;
        }
        networks = new MptNetworks(
                (ConnectivityManager) getSystemService(Context.CONNECTIVITY_SERVICE), new NetworkChanges());
        say(MptStatus.State.WAITING, "Waiting for a network.");
        boolean any = false;
        for (String name : facts.all("network")) {
            if (config.mark(name) != MptConfig.NEVER) {
                networks.request(name);
                any = true;
            }
        }
        if (!any) {
            fail("No network may be used: each one of this configuration is set to \"never\".");
            return;
        }
        startTunnel();
        look = worker.scheduleWithFixedDelay(
                new Runnable() {
                    @Override
                    public void run() {
                        boolean isBusy = watched || status.state != MptStatus.State.CONNECTED;
                        if (isBusy || ++looks % LOOKS_UNWATCHED == 0) {
                            refresh();
                        }
                    }
                },
                LOOK_MS, LOOK_MS, TimeUnit.MILLISECONDS);
    }

    /** As soon as the server's addresses are known. */
    private void startTunnel() {
        if (networks == null || tunnel != 0) {
            return;
        }
        String hosts = lookUp();
        if (hosts == null) {
            return;
        }
        try {
            ParcelFileDescriptor device = establish();
            if (device == null) {
                fail("Android refuses the VPN: the permission was withdrawn, or another VPN is set to be always on.");
                return;
            }
            host = new Host(networks);
            quietSince = System.nanoTime();
            tunnel = MptTunnel.start(config.withHosts(hosts), device.detachFd(), host);
            for (String name : facts.all("network")) {
                MptTunnel.markNetwork(tunnel, name, config.mark(name));
            }
            for (String name : networks.names()) {
                put(name, networks.get(name), true);
            }
        } catch (MptException error) {
            fail("The tunnel cannot start: " + error.getMessage());
            return;
        } catch (SecurityException | IllegalArgumentException | IllegalStateException error) {
            fail("Android refuses the VPN: " + error.getMessage());
            return;
        }
        refresh();
    }

    /** The addresses of the configuration's names, for the native library; null when one is not known yet. */
    private String lookUp() {
        StringBuilder hosts = new StringBuilder();
        for (String kind : new String[] {"host", "host6"}) {
            for (String name : facts.all(kind)) {
                String address = lookUp(name, kind.equals("host6"));
                if (address == null) {
                    if (networks.isEmpty()) {
                        say(MptStatus.State.WAITING, "No network. The tunnel starts as soon as one comes.");
                    } else {
                        say(MptStatus.State.WAITING,
                                "The server name " + name + " does not resolve. Trying again while a network is there.");
                        lookUpAgain();
                    }
                    return null;
                }
                hosts.append(name).append('\t').append(address).append('\n');
            }
        }
        return hosts.toString();
    }

    private void lookUpAgain() {
        if (again != null) {
            again.cancel(false);
        }
        again = worker.schedule(new Runnable() {
            @Override
            public void run() {
                work(new Runnable() {
                    @Override
                    public void run() {
                        startTunnel();
                    }
                });
            }
        }, RESOLVE_AGAIN_MS, TimeUnit.MILLISECONDS);
    }

    /** Asks the networks' own name servers, never through the tunnel. */
    private String lookUp(String name, boolean wantsIpv6) {
        for (String network : networks.names()) {
            MptNetworks.Present present = networks.get(network);
            try {
                for (InetAddress address : present == null ? new InetAddress[0] : present.network.getAllByName(name)) {
                    if (address instanceof Inet6Address == wantsIpv6) {
                        return address.getHostAddress();
                    }
                }
            } catch (UnknownHostException error) {
                Log.i(TAG, name + " over " + network + ": " + error.getMessage());
            }
        }
        return null;
    }

    private ParcelFileDescriptor establish() {
        Builder builder = new Builder();
        builder.setSession("mpt").setMtu(facts.mtu()).setBlocking(false);
        boolean hasIpv4 = false;
        boolean hasIpv6 = false;
        for (String address : facts.all("address")) {
            hasIpv4 |= address.indexOf(':') < 0;
            hasIpv6 |= address.indexOf(':') >= 0;
            builder.addAddress(before(address), length(address));
        }
        boolean takesEverything = false;
        for (String route : facts.all("route")) {
            takesEverything |= length(route) == 0;
            builder.addRoute(before(route), length(route));
        }
        if (!takesEverything) {
            // Else Android blocks the IP version that the tunnel does not carry.
            if (!hasIpv4) {
                builder.allowFamily(OsConstants.AF_INET);
            }
            if (!hasIpv6) {
                builder.allowFamily(OsConstants.AF_INET6);
            }
        }
        for (String server : config.dns().split(",")) {
            if (!server.trim().isEmpty()) {
                builder.addDnsServer(server.trim());
            }
        }
        Newer.followUnderlyingNetworks(builder);
        return builder.establish();
    }

    private static String before(String prefix) {
        return prefix.substring(0, prefix.indexOf('/'));
    }

    private static int length(String prefix) {
        return Integer.parseInt(prefix.substring(prefix.indexOf('/') + 1));
    }

    private void put(String name, MptNetworks.Present present, boolean isNew) throws MptException {
        if (present != null && config.mark(name) != MptConfig.NEVER) {
            MptTunnel.putNetwork(tunnel, name, isNew, present.mtu, present.addresses);
        }
    }

    private void followMarks() {
        MptConfig saved = MptConfig.load(this);
        if (networks == null || saved == null) {
            stopSelf();
            return;
        }
        try {
            for (String name : facts.all("network")) {
                int mark = saved.mark(name);
                config = config.withMark(name, mark);
                if (mark == MptConfig.NEVER) {
                    networks.release(name);
                } else {
                    networks.request(name);
                }
                if (tunnel != 0) {
                    MptTunnel.markNetwork(tunnel, name, mark);
                }
            }
        } catch (MptException error) {
            Log.w(TAG, "marks", error);
        }
        refresh();
    }

    /** What the worker does when Android tells of networks. */
    private final class NetworkChanges implements MptNetworks.Listener {
        @Override
        public void present(final String name, final MptNetworks.Present present, final boolean isNew) {
            work(new Runnable() {
                @Override
                public void run() {
                    if (networks == null) {
                        return;
                    }
                    if (tunnel == 0) {
                        startTunnel();
                        return;
                    }
                    try {
                        put(name, present, isNew);
                    } catch (MptException error) {
                        Log.w(TAG, name, error);
                    }
                    quietSince = isNew ? System.nanoTime() : quietSince;
                    refresh();
                }
            });
        }

        @Override
        public void gone(final String name) {
            work(new Runnable() {
                @Override
                public void run() {
                    try {
                        if (tunnel != 0) {
                            MptTunnel.removeNetwork(tunnel, name);
                        }
                    } catch (MptException error) {
                        Log.w(TAG, name, error);
                    }
                    refresh();
                }
            });
        }
    }

    /** The native library's calls, on its own thread. */
    private final class Host implements MptTunnel.Host {
        private final MptNetworks mine;

        Host(MptNetworks networks) {
            mine = networks;
        }

        @Override
        public boolean tie(int socket, String name) {
            MptNetworks.Present present = mine.get(name);
            if (present == null || !protect(socket)) {
                return false;
            }
            // The same socket under another number, as Android takes no bare number here.
            try (ParcelFileDescriptor copy = ParcelFileDescriptor.fromFd(socket)) {
                present.network.bindSocket(copy.getFileDescriptor());
                return true;
            } catch (IOException error) {
                Log.i(TAG, name + ": " + error.getMessage());
                return false;
            }
        }

        @Override
        public void log(final String line) {
            Log.i(TAG, line);
            work(new Runnable() {
                @Override
                public void run() {
                    log.addLast(line);
                    if (log.size() > LOG_LINES) {
                        log.removeFirst();
                    }
                    refresh();
                }
            });
        }

        @Override
        public void ended(final String why) {
            final Host self = this;
            work(new Runnable() {
                @Override
                public void run() {
                    if (self == host) {
                        fail("The tunnel has ended: " + why);
                    }
                }
            });
        }
    }

    /** Looks at the paths, and tells the user and Android what is new. */
    private void refresh() {
        if (tunnel == 0) {
            return;
        }
        try {
            stats = new MptStats(MptTunnel.stats(tunnel), stats, System.nanoTime());
        } catch (MptException error) {
            // It has ended, and says so by itself.
            Log.i(TAG, "stats", error);
            return;
        }
        List<String> up = new ArrayList<String>();
        List<String> inUse = new ArrayList<String>();
        for (MptStats.Path path : stats.paths) {
            if (path.up && !up.contains(path.network)) {
                up.add(path.network);
            }
            if (!path.isIdleBackup() && !inUse.contains(path.network)) {
                inUse.add(path.network);
            }
        }
        followUnderlying(inUse);
        if (!up.isEmpty()) {
            quietSince = System.nanoTime();
            say(MptStatus.State.CONNECTED, "Connected over " + join(up) + ".");
        } else if (networks.isEmpty()) {
            quietSince = System.nanoTime();
            say(MptStatus.State.WAITING, "No network. The tunnel goes on as soon as one comes.");
        } else if (System.nanoTime() - quietSince < PATIENCE_NANOS) {
            say(MptStatus.State.WAITING, "Looking for the server over " + join(networks.names()) + ".");
        } else {
            say(MptStatus.State.WAITING,
                    "The server does not answer over " + join(networks.names()) + ". Is it on, and its address right?");
        }
    }

    /** Android counts data, and takes the VPN for metered, by the networks that carry it. */
    private void followUnderlying(List<String> inUse) {
        List<Network> now = new ArrayList<Network>();
        for (String name : inUse) {
            MptNetworks.Present present = networks.get(name);
            if (present != null) {
                now.add(present.network);
            }
        }
        if (!now.equals(underlying)) {
            underlying = now;
            setUnderlyingNetworks(now.toArray(new Network[0]));
        }
    }

    private static String join(List<String> names) {
        StringBuilder text = new StringBuilder();
        for (String name : names) {
            String nice = name.equals("wifi") ? "Wi-Fi" : name.equals("ethernet") ? "Ethernet" : name;
            text.append(text.length() > 0 ? " and " : "").append(nice);
        }
        return text.toString();
    }

    private void say(MptStatus.State state, String sentence) {
        if (!sentence.equals(status.sentence)) {
            Log.i(TAG, sentence);
            ((NotificationManager) getSystemService(NOTIFICATION_SERVICE)).notify(NOTIFICATION, notification(sentence));
        }
        status = new MptStatus(state, sentence, stats, new ArrayList<String>(log));
    }

    private Notification notification(String sentence) {
        Intent app = getPackageManager().getLaunchIntentForPackage(getPackageName());
        Notification.Builder builder = Newer.notification(this, CHANNEL, "Tunnel")
                .setSmallIcon(getApplicationInfo().icon)
                .setContentTitle("mpt")
                .setContentText(sentence)
                .setOngoing(true);
        if (app != null) {
            builder.setContentIntent(PendingIntent.getActivity(this, 0, app, FLAG_IMMUTABLE));
        }
        return builder.build();
    }

    private void fail(String sentence) {
        Log.w(TAG, sentence);
        end(new MptStatus(MptStatus.State.FAILED, sentence, MptStats.NONE, new ArrayList<String>(log)));
    }

    private void end(MptStatus last) {
        halt();
        status = last;
        stopForeground(true);
        stopSelf();
    }

    /** Lets go of everything: device, sockets, networks, threads but this one. */
    private void halt() {
        for (ScheduledFuture<?> later : new ScheduledFuture<?>[] {look, again}) {
            if (later != null) {
                later.cancel(false);
            }
        }
        if (networks != null) {
            networks.close();
            networks = null;
        }
        host = null;
        long ending = tunnel;
        tunnel = 0;
        MptTunnel.stop(ending);
        stats = MptStats.NONE;
        underlying = Collections.emptyList();
    }
}
