package android.content;

public class Intent {
    private String action;

    public Intent() {}

    public Intent(Context context, Class<?> target) {}

    public Intent setAction(String action) {
        this.action = action;
        return this;
    }

    public String getAction() {
        return action;
    }
}
