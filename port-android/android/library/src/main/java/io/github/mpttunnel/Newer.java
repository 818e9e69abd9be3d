package io.github.mpttunnel;

import android.app.Notification;
import android.content.Context;
import android.content.Intent;
import android.net.VpnService;
import android.os.Build;
import android.util.Log;

/** What Android has learned since API 24, by reflection: so the package compiles with any SDK and runs on all. */
final class Newer {
    private static final int O = 26;
    private static final int Q = 29;
    private static final int IMPORTANCE_LOW = 2;

    /** Whether Android tells of a network's properties as soon as it is there. */
    static final boolean TELLS_PROPERTIES = Build.VERSION.SDK_INT >= O;

    private Newer() {}

    /** A builder of notifications in a channel of its own, which Android wants since 8. */
    static Notification.Builder notification(Context context, String channel, CharSequence channelName) {
        if (Build.VERSION.SDK_INT >= O) {
            try {
                Class<?> type = Class.forName("android.app.NotificationChannel");
                Object made = type.getConstructor(String.class, CharSequence.class, int.class)
                        .newInstance(channel, channelName, IMPORTANCE_LOW);
                Object manager = context.getSystemService(Context.NOTIFICATION_SERVICE);
                manager.getClass().getMethod("createNotificationChannel", type).invoke(manager, made);
                return Notification.Builder.class.getConstructor(Context.class, String.class)
                        .newInstance(context, channel);
            } catch (ReflectiveOperationException error) {
                Log.w("mpt", "notification channel", error);
            }
        }
        return new Notification.Builder(context);
    }

    /** Since Android 8 a service that is started from the background says that it will show a notification. */
    static void startForegroundService(Context context, Intent intent) {
        if (Build.VERSION.SDK_INT >= O) {
            try {
                Context.class.getMethod("startForegroundService", Intent.class).invoke(context, intent);
                return;
            } catch (ReflectiveOperationException error) {
                Log.w("mpt", "foreground service", error);
            }
        }
        context.startService(intent);
    }

    /**
     * Not metered by itself: whether the VPN counts as metered then follows the networks below, as
     * {@link VpnService#setUnderlyingNetworks} names them. Before Android 10 it always does.
     */
    static void followUnderlyingNetworks(VpnService.Builder builder) {
        if (Build.VERSION.SDK_INT >= Q) {
            try {
                VpnService.Builder.class.getMethod("setMetered", boolean.class).invoke(builder, false);
            } catch (ReflectiveOperationException error) {
                Log.w("mpt", "metered", error);
            }
        }
    }
}
