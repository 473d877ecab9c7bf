import {Context, Contract, Info, Returns, Transaction} from 'fabric-contract-api';
import {Bond} from './bond';

@Info({title: 'BondContract', description: 'Bonds and who owns them'})
export class BondContract extends Contract {

    @Transaction()
    public async Issue(ctx: Context, id: string, owner: string, faceValue: number): Promise<void> {
        if (await this.Exists(ctx, id)) {
            throw new Error(`the bond ${id} already exists`);
        }
        const bond: Bond = {ID: id, Owner: owner, FaceValue: faceValue, Paid: false};
        await this.keep(ctx, bond);
    }

    @Transaction(false)
    public async Read(ctx: Context, id: string): Promise<string> {
        return JSON.stringify(await this.find(ctx, id));
    }

    @Transaction()
    public async Transfer(ctx: Context, id: string, newOwner: string): Promise<string> {
        const bond = await this.find(ctx, id);
        const oldOwner = bond.Owner;
        await this.keep(ctx, {...bond, Owner: newOwner});
        return oldOwner;
    }

    @Transaction()
    public async Pay(ctx: Context, bond: Bond): Promise<void> {
        await this.keep(ctx, {...bond, Paid: true});
    }

    @Transaction(false)
    @Returns('boolean')
    public async Exists(ctx: Context, id: string): Promise<boolean> {
        const bytes = await ctx.stub.getState(id);
        return bytes?.length > 0;
    }

    @Transaction(false)
    @Returns('string')
    public async All(ctx: Context): Promise<string> {
        const all: Bond[] = [];
        for await (const {value} of ctx.stub.getStateByRange('', '') as any) {
            all.push(JSON.parse(Buffer.from(value).toString()) as Bond);
        }
        return JSON.stringify(all);
    }

    private async find(ctx: Context, id: string): Promise<Bond> {
        const bytes = await ctx.stub.getState(id);
        if (!bytes || bytes.length === 0) {
            throw new Error(`the bond ${id} does not exist`);
        }
        return JSON.parse(bytes.toString()) as Bond;
    }

    private async keep(ctx: Context, bond: Bond): Promise<void> {
        const entries = Object.entries(bond).sort(([a], [b]) => a.localeCompare(b));
        await ctx.stub.putState(bond.ID, Buffer.from(JSON.stringify(Object.fromEntries(entries))));
    }
}
