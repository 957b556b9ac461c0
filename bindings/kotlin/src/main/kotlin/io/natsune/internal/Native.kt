package io.natsune.internal

/**
 * The hot lane: static natives, straight on the JNI table.
 *
 * A negative number or a null array is a failure that waits for [lastFailure] on the same thread.
 */
@Suppress("LongParameterList")
internal object Native {
    init {
        Library.load()
    }

    @JvmStatic
    external fun queueNew(): Long

    /** Blocks until [queue] has something to drain. */
    @JvmStatic
    external fun queueWait(queue: Long): Int

    @JvmStatic
    external fun queueDrain(
        queue: Long,
        ids: LongArray,
    ): Int

    @JvmStatic
    external fun cancel(id: Long)

    @JvmStatic
    external fun closeHandle(handle: Long)

    @JvmStatic
    external fun publish(
        client: Long,
        subject: String,
        reply: String?,
        headers: ByteArray?,
        payload: ByteArray,
    ): Int

    @JvmStatic
    external fun offer(
        client: Long,
        subject: String,
        reply: String?,
        headers: ByteArray?,
        payload: ByteArray,
    ): Int

    @JvmStatic
    external fun startPublish(
        queue: Long,
        client: Long,
        subject: String,
        reply: String?,
        headers: ByteArray?,
        payload: ByteArray,
    ): Long

    @JvmStatic
    external fun startWaitWritable(
        queue: Long,
        client: Long,
    ): Long

    @JvmStatic
    external fun startRequest(
        queue: Long,
        client: Long,
        subject: String,
        headers: ByteArray?,
        payload: ByteArray,
        timeoutMs: Long,
    ): Long

    @JvmStatic
    external fun startJsPublish(
        queue: Long,
        jetstream: Long,
        subject: String,
        headers: ByteArray?,
        payload: ByteArray,
        options: ByteArray?,
    ): Long

    @JvmStatic
    external fun take(
        handle: Long,
        maxMessages: Int,
        maxBytes: Int,
        done: Int,
    ): ByteArray?

    @JvmStatic
    external fun startReady(
        queue: Long,
        handle: Long,
    ): Long

    @JvmStatic
    external fun settle(
        client: Long,
        ackSubject: ByteArray,
        state: Int,
        verb: Int,
        argument: String?,
    ): Int

    @JvmStatic
    external fun startAckSync(
        queue: Long,
        client: Long,
        ackSubject: ByteArray,
        state: Int,
        timeoutMs: Long,
    ): Long

    @JvmStatic
    external fun finishNumber(id: Long): Long

    @JvmStatic
    external fun finishMessages(id: Long): ByteArray?

    @JvmStatic
    external fun finishAck(id: Long): ByteArray?

    @JvmStatic
    external fun lastFailure(): ByteArray?

    @JvmStatic
    external fun openHandles(): Long

    @JvmStatic
    external fun injectPanic()
}
