package io.natsune.internal

import io.natsune.Headers
import java.lang.ref.Cleaner
import java.lang.ref.Reference
import kotlin.time.Duration

private val cleaner: Cleaner = Cleaner.create { Thread(it, "natsune-cleaner").apply { isDaemon = true } }

/** A handle of the library: closed by [close], else when it is forgotten (with a warning, if it has a [name]). */
internal class Handle(
    val number: Long,
    name: String? = null,
) : AutoCloseable {
    private val closing = Closing(number, name)
    private val cleanable = cleaner.register(this, closing)

    override fun close() {
        closing.asked = true
        cleanable.clean()
    }

    private class Closing(
        private val number: Long,
        private val name: String?,
    ) : Runnable {
        @Volatile
        var asked = false

        override fun run() {
            if (!asked && name != null) {
                System.getLogger("io.natsune").log(System.Logger.Level.WARNING, "$name was forgotten without being closed")
            }
            Native.closeHandle(number)
        }
    }

    /** Starts an operation on this handle, waits, and takes its result. The handle is not forgotten meanwhile. */
    suspend inline fun <T> run(
        start: (Long, Long) -> Long,
        finish: (Long) -> T,
    ): T =
        try {
            Completions.run({ start(it, number) }, finish)
        } finally {
            Reference.reachabilityFence(this)
        }

    /** A synchronous question of the generated lane. */
    inline fun <T> ask(call: (Long) -> T): T =
        try {
            control { call(number) }
        } finally {
            Reference.reachabilityFence(this)
        }

    /** True: accepted under pressure. */
    fun publish(
        subject: String,
        reply: String?,
        headers: Headers?,
        payload: ByteArray,
    ): Boolean {
        val accepted = Native.publish(number, subject, reply, headers?.packed(), payload)
        Reference.reachabilityFence(this)
        return checked(accepted) == 1
    }

    /** Accepts the message when there is room, after at most `publishTimeout`. */
    suspend fun publishWaiting(
        subject: String,
        reply: String?,
        headers: Headers?,
        payload: ByteArray,
    ) {
        val packed = headers?.packed()
        if (checked(Native.offer(number, subject, reply, packed, payload)) == 1) {
            Completions.number(checked(Native.startPublish(Completions.queue, number, subject, reply, packed, payload)))
        }
        Reference.reachabilityFence(this)
    }

    suspend fun waitWritable() {
        Completions.number(checked(Native.startWaitWritable(Completions.queue, number)))
        Reference.reachabilityFence(this)
    }
}

/** 0 is the library's own default, so what is shorter than a millisecond is one. */
internal fun Duration?.milliseconds(): Long =
    when {
        this == null -> 0
        isNegative() -> -1
        else -> inWholeMilliseconds.coerceAtLeast(1)
    }

/** Seconds as a text. */
internal fun Duration.seconds(): String =
    toComponents { seconds, nanoseconds -> "%d.%09d".format(java.util.Locale.ROOT, seconds, nanoseconds) }
