package io.github.mpttunnel.sample;

import android.app.Activity;
import android.content.Intent;
import android.net.Uri;
import android.net.VpnService;
import android.os.Build;
import android.os.Bundle;
import android.os.Handler;
import android.os.Looper;
import android.widget.Toast;
import io.github.mpttunnel.MptConfig;
import io.github.mpttunnel.MptException;
import io.github.mpttunnel.MptStatus;
import io.github.mpttunnel.MptVpnService;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;

/** The one screen of the sample: what it shows is in {@link TunnelScreen}; here is what it does. */
public final class TunnelActivity extends Activity implements TunnelScreen.Listener {
    private static final int ASK_PERMISSION = 1;
    private static final int ASK_FILE = 2;
    private static final int TIRAMISU = 33;
    private static final long SECOND_MS = 1_000;
    /** A configuration is a page of text. */
    private static final int LARGEST_FILE = 1 << 20;

    private final Handler handler = new Handler(Looper.getMainLooper());
    private TunnelScreen screen;
    private final Runnable eachSecond = new Runnable() {
        @Override
        public void run() {
            screen.show(MptVpnService.status());
            handler.postDelayed(this, SECOND_MS);
        }
    };

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        screen = new TunnelScreen(this, this);
        setContentView(screen.view());
        screen.show(MptConfig.load(this));
        try {
            screen.showKey(MptConfig.publicKey(this));
        } catch (MptException error) {
            screen.complain(error.getMessage());
        }
        if (Build.VERSION.SDK_INT >= TIRAMISU) {
            // Without it the tunnel works all the same; Android then shows no notification.
            requestPermissions(new String[] {"android.permission.POST_NOTIFICATIONS"}, 0);
        }
        takeFrom(getIntent());
    }

    @Override
    protected void onNewIntent(Intent intent) {
        takeFrom(intent);
    }

    @Override
    protected void onResume() {
        super.onResume();
        MptVpnService.setWatched(true);
        eachSecond.run();
    }

    @Override
    protected void onPause() {
        handler.removeCallbacks(eachSecond);
        MptVpnService.setWatched(false);
        super.onPause();
    }

    /** A text that was shared, or an mpt: address that was opened. It is shown, and used when the user says so. */
    private void takeFrom(Intent intent) {
        if (Intent.ACTION_VIEW.equals(intent.getAction()) && intent.getDataString() != null) {
            screen.propose(intent.getDataString());
        } else if (Intent.ACTION_SEND.equals(intent.getAction()) && intent.getStringExtra(Intent.EXTRA_TEXT) != null) {
            screen.propose(intent.getStringExtra(Intent.EXTRA_TEXT));
        }
    }

    @Override
    public void onImport(String text) {
        MptConfig old = MptConfig.load(this);
        try {
            MptConfig config = MptConfig.parse(this, text);
            if (old != null && !text.trim().startsWith("mpt:")) {
                // TOML does not say what only a phone has.
                config = config.withDns(old.dns());
                for (String network : MptConfig.NETWORKS) {
                    config = config.withMark(network, old.mark(network));
                }
            }
            save(old == null ? config : config.withStartOnBoot(old.startOnBoot()));
            Toast.makeText(this, "Imported.", Toast.LENGTH_SHORT).show();
        } catch (MptException error) {
            screen.complain(error.getMessage());
        }
    }

    private void save(MptConfig config) {
        config.save(this);
        screen.show(config);
    }

    @Override
    public void onOpenFile() {
        Intent open = new Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("*/*");
        if (open.resolveActivity(getPackageManager()) == null) {
            screen.complain("This phone has no app to choose a file with. Paste the configuration instead.");
        } else {
            startActivityForResult(open, ASK_FILE);
        }
    }

    @Override
    public void onSwitch(boolean on) {
        if (!on) {
            MptVpnService.stop(this);
            return;
        }
        Intent ask = VpnService.prepare(this);
        if (ask == null) {
            MptVpnService.start(this);
        } else {
            startActivityForResult(ask, ASK_PERMISSION);
        }
    }

    @Override
    public void onMark(String network, int mark) {
        MptConfig config = MptConfig.load(this);
        if (config != null && config.mark(network) != mark) {
            config.withMark(network, mark).save(this);
            MptVpnService.applyMarks(this);
        }
    }

    @Override
    public void onStartOnBoot(boolean start) {
        MptConfig config = MptConfig.load(this);
        if (config != null) {
            config.withStartOnBoot(start).save(this);
        }
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        if (request == ASK_PERMISSION) {
            if (result == RESULT_OK) {
                MptVpnService.start(this);
            } else {
                screen.complain("Without your permission there is no VPN. If you were not asked, another VPN is set to be "
                        + "always on: switch that off in Android's settings.");
            }
        } else if (request == ASK_FILE && result == RESULT_OK && data != null) {
            try {
                screen.propose(read(data.getData()));
            } catch (IOException | SecurityException error) {
                screen.complain("The file cannot be read: " + error.getMessage());
            }
        }
    }

    private String read(Uri file) throws IOException {
        try (InputStream in = getContentResolver().openInputStream(file)) {
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            byte[] buffer = new byte[8192];
            for (int count = in == null ? -1 : in.read(buffer); count >= 0; count = in.read(buffer)) {
                all.write(buffer, 0, count);
                if (all.size() > LARGEST_FILE) {
                    throw new IOException("it is larger than any configuration");
                }
            }
            return all.toString("UTF-8");
        }
    }
}
