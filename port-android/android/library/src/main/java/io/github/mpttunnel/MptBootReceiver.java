package io.github.mpttunnel;

import android.content.BroadcastReceiver;
import android.content.Context;
import android.content.Intent;
import android.net.VpnService;

/** Starts the service with the phone, and after an update of the app, if the user asked for it. */
public final class MptBootReceiver extends BroadcastReceiver {
    @Override
    public void onReceive(Context context, Intent intent) {
        MptConfig config = MptConfig.load(context);
        // Without the permission there is nobody to ask for it.
        if (config != null && config.startOnBoot() && VpnService.prepare(context) == null) {
            MptVpnService.start(context);
        }
    }
}
