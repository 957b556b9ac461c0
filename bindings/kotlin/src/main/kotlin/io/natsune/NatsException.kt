package io.natsune

/** What a caller acts on. */
public enum class ErrorCode(
    /** The word that is the same in every language. */
    public val word: String,
) {
    /** The caller's own mistake; nothing was sent. */
    InvalidArgument("invalid_argument"),

    /** The server does not accept these credentials. */
    Auth("auth"),

    /** These credentials do not allow that. */
    Permission("permission"),

    /** No connection, or it broke. */
    Connection("connection"),

    /** The object is closed. */
    Closed("closed"),

    /** No answer in time. */
    Timeout("timeout"),

    /** Nobody listens on that subject. */
    NoResponders("no_responders"),

    /** No such stream, consumer or namespace. */
    NotFound("not_found"),

    /** It exists, with another configuration. */
    AlreadyExists("already_exists"),

    /** An expectation was not met. */
    Conflict("conflict"),

    /** A limit of the server, stream or payload. */
    LimitExceeded("limit_exceeded"),

    /** Our own buffer is full; [Client.waitWritable] says when to go on. */
    Busy("busy"),

    /** JetStream is not ready. */
    Unavailable("unavailable"),

    /** The server is too old or does not do that. */
    Unsupported("unsupported"),

    /** A digest does not fit. */
    Integrity("integrity"),

    /** The server said something else; the text says what. */
    Server("server"),

    /** A fault in this library. */
    Internal("internal"),
    ;

    internal companion object {
        fun of(word: String): ErrorCode = entries.firstOrNull { it.word == word } ?: Internal
    }
}

/** Whether a call had an effect on the server. */
public enum class Applied(
    internal val word: String,
) {
    /** It had none. */
    No("no"),

    /** Nobody can tell. */
    Maybe("maybe"),

    /** It had. */
    Yes("yes"),
    ;

    override fun toString(): String = word
}

/**
 * What went wrong: act on [code], show [message]. [applied] and [retryable] answer "may I try again?".
 *
 * Unchecked, so that Java can catch it around calls that declare nothing.
 *
 * @property code What to act on.
 * @property retryable Whether the same call may succeed later.
 * @property applied Whether the call had an effect.
 * @property detail Facts beside the code: `err_code`, `status`, `subject`, `server`, `field`.
 */
public open class NatsException(
    public val code: ErrorCode,
    override val message: String,
    public val retryable: Boolean = false,
    public val applied: Applied = Applied.No,
    public val detail: Map<String, Any> = emptyMap(),
) : RuntimeException(message) {
    /** JetStream's own error number, if there is one. */
    public val errCode: Long? get() = detail["err_code"] as? Long

    /** The status of the answer, if there is one. */
    public val status: Long? get() = detail["status"] as? Long

    override fun toString(): String = "NatsException(${code.word}: $message)"
}
