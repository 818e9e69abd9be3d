package io.github.mpttunnel.sample;

import android.app.Activity;
import android.graphics.Typeface;
import android.text.InputType;
import android.view.View;
import android.view.ViewGroup;
import android.widget.AdapterView;
import android.widget.ArrayAdapter;
import android.widget.Button;
import android.widget.CheckBox;
import android.widget.CompoundButton;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.ScrollView;
import android.widget.Spinner;
import android.widget.Switch;
import android.widget.TextView;
import io.github.mpttunnel.MptConfig;
import io.github.mpttunnel.MptStats;
import io.github.mpttunnel.MptStatus;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** What the sample shows: on or off, a sentence, the paths, when each network is used, the phone's key, and the configuration. */
final class TunnelScreen {
    /** What the user does. */
    interface Listener {
        void onSwitch(boolean on);

        void onImport(String text);

        void onOpenFile();

        void onMark(String network, int mark);

        void onStartOnBoot(boolean start);
    }

    private static final int PADDING_DP = 16;

    private final Activity activity;
    private final Listener listener;
    private final ScrollView view;
    private final LinearLayout column;
    private final Switch onOff;
    private final TextView sentence;
    private final TextView paths;
    private final Map<String, Spinner> marks = new HashMap<String, Spinner>();
    private final CheckBox boot;
    private final TextView key;
    private final EditText text;
    private final TextView complaint;
    /** While the screen sets a control, that is no wish of the user. */
    private boolean isShowing;

    TunnelScreen(Activity activity, final Listener listener) {
        this.activity = activity;
        this.listener = listener;
        view = new ScrollView(activity);
        column = new LinearLayout(activity);
        column.setOrientation(LinearLayout.VERTICAL);
        int padding = Math.round(PADDING_DP * activity.getResources().getDisplayMetrics().density);
        column.setPadding(padding, padding, padding, padding);
        view.addView(column);

        onOff = add(new Switch(activity));
        onOff.setText("Tunnel");
        onOff.setOnCheckedChangeListener(new CompoundButton.OnCheckedChangeListener() {
            @Override
            public void onCheckedChanged(CompoundButton button, boolean on) {
                if (!isShowing) {
                    complain("");
                    listener.onSwitch(on);
                }
            }
        });
        sentence = add(new TextView(activity));
        paths = add(new TextView(activity));
        paths.setTypeface(Typeface.MONOSPACE);

        heading("When networks are used");
        for (String network : MptConfig.NETWORKS) {
            addMark(network);
        }
        boot = add(new CheckBox(activity));
        boot.setText("Start with the phone");
        boot.setOnCheckedChangeListener(new CompoundButton.OnCheckedChangeListener() {
            @Override
            public void onCheckedChanged(CompoundButton button, boolean checked) {
                if (!isShowing) {
                    listener.onStartOnBoot(checked);
                }
            }
        });

        heading("This phone's public key, for the server's configuration");
        key = add(new TextView(activity));
        key.setTypeface(Typeface.MONOSPACE);
        key.setTextSize(12);
        key.setTextIsSelectable(true);

        heading("Configuration: TOML, or an mpt: text");
        text = add(new EditText(activity));
        text.setInputType(InputType.TYPE_CLASS_TEXT | InputType.TYPE_TEXT_FLAG_MULTI_LINE
                | InputType.TYPE_TEXT_FLAG_NO_SUGGESTIONS);
        text.setTypeface(Typeface.MONOSPACE);
        text.setTextSize(12);
        text.setMinLines(4);
        complaint = add(new TextView(activity));
        complaint.setTextColor(0xFFB00020);
        button("Use this configuration", new View.OnClickListener() {
            @Override
            public void onClick(View button) {
                complain("");
                listener.onImport(text.getText().toString());
            }
        });
        button("Open a file", new View.OnClickListener() {
            @Override
            public void onClick(View button) {
                listener.onOpenFile();
            }
        });
    }

    View view() {
        return view;
    }

    private <V extends View> V add(V child) {
        column.addView(child, new LinearLayout.LayoutParams(
                ViewGroup.LayoutParams.MATCH_PARENT, ViewGroup.LayoutParams.WRAP_CONTENT));
        return child;
    }

    private void heading(String words) {
        TextView heading = add(new TextView(activity));
        heading.setText("\n" + words);
        heading.setTypeface(Typeface.DEFAULT_BOLD);
    }

    private void button(String words, View.OnClickListener action) {
        Button button = add(new Button(activity));
        button.setText(words);
        button.setOnClickListener(action);
    }

    private void addMark(final String network) {
        Spinner spinner = add(new Spinner(activity));
        String[] choices = {network + ": together with the others", network + ": only when the others fail",
            network + ": never (its data costs money)"};
        spinner.setAdapter(
                new ArrayAdapter<String>(activity, android.R.layout.simple_spinner_dropdown_item, choices));
        spinner.setOnItemSelectedListener(new AdapterView.OnItemSelectedListener() {
            @Override
            public void onItemSelected(AdapterView<?> parent, View item, int position, long id) {
                listener.onMark(network, position);
            }

            @Override
            public void onNothingSelected(AdapterView<?> parent) {}
        });
        marks.put(network, spinner);
    }

    /** Something is wrong; an empty text takes it back. */
    void complain(String words) {
        complaint.setText(words);
    }

    /** A configuration from elsewhere, for the user to look at. */
    void propose(String configuration) {
        text.setText(configuration);
        complain("");
    }

    /** The phone's public key, to be copied. */
    void showKey(String publicKey) {
        key.setText(publicKey);
    }

    /** The configuration that is in use; null: none. */
    void show(MptConfig config) {
        if (config == null) {
            return;
        }
        isShowing = true;
        text.setText(config.toml());
        boot.setChecked(config.startOnBoot());
        for (String network : MptConfig.NETWORKS) {
            marks.get(network).setSelection(config.mark(network));
        }
        isShowing = false;
    }

    /** How the tunnel is. */
    void show(MptStatus status) {
        isShowing = true;
        onOff.setChecked(status.state == MptStatus.State.WAITING || status.state == MptStatus.State.CONNECTED);
        isShowing = false;
        sentence.setText(status.sentence);
        StringBuilder rows = new StringBuilder();
        for (MptStats.Path path : status.stats.paths) {
            rows.append(row(path)).append('\n');
        }
        paths.setText(rows);
    }

    private static String row(MptStats.Path path) {
        if (!path.up) {
            return String.format(Locale.ROOT, "%-10s %s", path.name, path.why);
        }
        return String.format(Locale.ROOT, "%-10s up %5.0f ms %7.2f Mbit/s %3.0f %%", path.name,
                path.rttMicros / 1e3, path.rate / 1e6, path.share * 100);
    }
}
